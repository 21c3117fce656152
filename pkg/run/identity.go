package run

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/json"
	"slices"
	"strings"

	"github.com/fanfold/fanfold/pkg/event"
)

// identity is what makes two jobs the same run: what is read, and what is sent to
// whom; not secrets, rates or concurrency. It is kept in the journal; the id is its
// hash. The members and their order are part of the id of runs that exist.
type identity struct {
	From                         []string
	Since, Until, Filter         string
	Limit                        int64
	Transform                    string
	Rehearse                     bool
	Destinations                 []destinationIdentity
	Format, Layout, Lateness, S3 string
	Columns                      []string
	Separator                    string            `json:",omitempty"`
	DateOrder                    event.DateOrder   `json:",omitempty"`
	Undated                      string            `json:",omitempty"`
	Map                          string            `json:",omitempty"`
	Schemes                      map[string]string `json:",omitempty"` // but S3, which has its own place
}

type destinationIdentity struct {
	Name, Type, Presets, BaseURL, Filter string
	Settings                             map[string]any
	Actions                              []string
}

// ID names the job's first run; those that come after it have a number behind it.
func (j *Job) ID() string {
	_, id := j.identity()
	return id
}

func (j *Job) identity() (meta identity, id string) {
	in := &j.Input
	meta = identity{From: in.From, Since: in.Since, Until: in.Until, Limit: j.Limit, Rehearse: j.Rehearse,
		Format: in.Options.Format, Layout: in.Options.Layout, Lateness: in.Lateness, S3: in.Schemes["s3"],
		Columns:   in.Options.Columns,
		Separator: in.Options.Separator, Map: in.Map, DateOrder: in.DateOrder, Undated: in.Undated}
	for name, what := range in.Schemes {
		if name != "s3" {
			if meta.Schemes == nil {
				meta.Schemes = map[string]string{}
			}
			meta.Schemes[name] = what
		}
	}
	meta.Filter = j.Filter.String()
	if j.Steps != nil {
		meta.Transform = j.Steps.Identity()
	}
	for _, o := range j.Destinations {
		d := destinationIdentity{Name: o.Name, Type: o.Slug, Presets: o.Config.Presets, BaseURL: o.Config.BaseURL,
			Filter: o.Filter.String(), Settings: map[string]any{}}
		for _, f := range o.Spec.Settings.Fields {
			if v, ok := o.Settings[f.Key]; ok && !f.Secret {
				d.Settings[f.Key] = v
			}
		}
		for _, sub := range o.Config.Actions {
			d.Actions = append(d.Actions, sub.Action+"|"+sub.Subscribe+"|"+sub.Mapping.String())
		}
		meta.Destinations = append(meta.Destinations, d)
	}
	slices.SortFunc(meta.Destinations, func(a, b destinationIdentity) int { return strings.Compare(a.Name, b.Name) })
	data, err := json.Marshal(meta)
	if err != nil {
		panic(err) // texts and numbers cannot fail
	}
	sum := sha256.Sum256(data)
	return meta, strings.ToLower(base32.StdEncoding.EncodeToString(sum[:])[:10])
}

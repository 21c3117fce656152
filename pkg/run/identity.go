package run

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/json"
	"slices"
	"strings"

	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/secret"
)

// identity is what a job reads, and what it sends to whom; not secrets, rates or
// concurrency. What is read makes the family of runs that a job belongs to, which gives
// them their names; what is sent to whom says for each destination whether a run of the
// family is one of it, and whether its configuration has changed. It is kept in the
// journal, and beside it ([keptIdentity]). The hash of all of it is the id of redrives,
// and of runs of before: the members and their order are part of that.
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
	Types                        []string          `json:",omitempty"`
	Unwrap, Encoding             string            `json:",omitempty"`
	DateOrder                    event.DateOrder   `json:",omitempty"`
	Undated                      string            `json:",omitempty"`
	Map                          string            `json:",omitempty"`
	Schemes                      map[string]string `json:",omitempty"` // but S3, which has its own place
}

type destinationIdentity struct {
	Name, Type, Presets, BaseURL, Filter string
	Settings                             map[string]any
	Actions                              []string
	// Parts are those of a description of the user's own, see [destination.Spec].
	Parts map[string]string `json:",omitempty"`
}

// partless is the same without its parts, as it was kept before there were any.
func (d destinationIdentity) partless() destinationIdentity {
	d.Parts = nil
	return d
}

// who is the destination itself: where it is, not what it is sent.
func (d destinationIdentity) who() destinationIdentity {
	d.Presets, d.Filter, d.Actions, d.Parts = "", "", nil, nil
	return d
}

// input is what is read.
func (m identity) input() identity {
	m.Transform, m.Destinations = "", nil
	return m
}

// hashOf is a short name for a value. JSON of texts and numbers cannot fail.
func hashOf(v any) string {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	sum := sha256.Sum256(data)
	return strings.ToLower(base32.StdEncoding.EncodeToString(sum[:])[:10])
}

// Names are how the first run of the job is called, and how it was called by versions of
// fanfold that made one name of what is read and what is sent to whom. Those that come
// after it have a number behind it.
func (j *Job) Names() (id, before string, err error) {
	meta, _, err := j.identity(nil)
	return hashOf(meta.input()), hashOf(meta), err
}

// identity is that of the job, and shown the same as it may be kept: an address or a
// mapping may hold a secret.
func (j *Job) identity(redact func(string) string) (meta, shown identity, err error) {
	in := &j.Input
	meta = identity{From: in.From, Since: in.Since, Until: in.Until, Limit: j.Limit, Rehearse: j.Rehearse,
		Format: in.Options.Format, Layout: in.Options.Layout, Lateness: in.Lateness, S3: in.Schemes["s3"],
		Columns:   in.Options.Columns,
		Separator: in.Options.Separator, Types: in.Options.Types, Unwrap: in.Options.Unwrap,
		Encoding: in.Options.Encoding, Map: in.Map, DateOrder: in.DateOrder, Undated: in.Undated}
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
		if o.Spec.Made != "" {
			d.Actions, d.Parts = append(d.Actions, "described|"+o.Spec.Made), o.Spec.Parts
		}
		for _, sub := range o.Config.Actions {
			d.Actions = append(d.Actions, sub.Action+"|"+sub.Subscribe+"|"+sub.Mapping.String())
		}
		meta.Destinations = append(meta.Destinations, d)
	}
	slices.SortFunc(meta.Destinations, func(a, b destinationIdentity) int { return strings.Compare(a.Name, b.Name) })
	data, err := json.Marshal(meta)
	if err != nil {
		return meta, shown, err
	}
	if redact != nil {
		data = secret.JSON(data, redact)
	}
	return meta, shown, json.Unmarshal(data, &shown)
}

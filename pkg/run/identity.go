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

// identity is what a job reads, and what it sends to whom; secrets, rates and concurrency are not part of it. What
// is read determines the family of runs that a job belongs to, and their names. What is sent to whom tells, for
// each destination, whether a run of the family has it, and whether its configuration has changed. The identity is
// stored in the journal, and in a file beside it ([keptIdentity]). The hash of all of it is the id of redrives,
// and of runs made by older versions; so the members and their order must not change.
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
	// Parts are the parts of a declaration that the user wrote, see [destination.Spec].
	Parts map[string]string `json:",omitempty"`
}

// partless is the identity without its parts, as older versions stored it.
func (d destinationIdentity) partless() destinationIdentity {
	d.Parts = nil
	return d
}

// who identifies the destination itself, without what it is sent.
func (d destinationIdentity) who() destinationIdentity {
	d.Presets, d.Filter, d.Actions, d.Parts = "", "", nil, nil
	return d
}

// input identifies what is read.
func (m identity) input() identity {
	m.Transform, m.Destinations = "", nil
	return m
}

// hashOf is a short hash of a value. Encoding texts and numbers as JSON cannot fail.
func hashOf(v any) string {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	sum := sha256.Sum256(data)
	return strings.ToLower(base32.StdEncoding.EncodeToString(sum[:])[:10])
}

// Names returns the name of the job's first run, and the name that older versions of fanfold gave it, which
// combined what is read and what is sent to whom. Later runs add a number to the name.
func (j *Job) Names() (id, before string, err error) {
	meta, _, err := j.identity(nil)
	return hashOf(meta.input()), hashOf(meta), err
}

// identity returns the identity of the job, and, as shown, the same redacted for storage, because an address or a
// mapping may contain a secret.
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

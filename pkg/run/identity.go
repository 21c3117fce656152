package run

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"

	"github.com/fanfold/fanfold/pkg/event"
)

// identity is what a job reads, and what it sends to whom; secrets, rates and concurrency are not part of it. What
// is read determines the family of runs that a job belongs to, and their names. What is sent to whom tells, for
// each destination, whether a run of the family has it, and whether its configuration has changed. The identity is
// stored in the journal, and in a file beside it ([keptIdentity]), with every secret in it sealed. Its hash is the
// id of redrives and runs made by older versions, so the members and their order must not change.
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
	// Salt is that of the seals ([World.seal]), and only there when it is stored. "": an older version has stored it.
	Salt string `json:",omitempty"`
	// steps are the transform steps, each its kind and its text. They are stored separately.
	steps []string
}

type destinationIdentity struct {
	Name, Type, Presets, BaseURL, Filter string
	Settings                             map[string]any
	Actions                              []string
	// Parts are the parts of a declaration that the user wrote, see [destination.Spec]. Older versions stored short
	// hashes of them.
	Parts map[string]string `json:",omitempty"`
}

// partless is the identity without its parts, as older versions stored it.
func (d destinationIdentity) partless() destinationIdentity {
	d.Parts = nil
	return d
}

// hashed is the identity with hashes of its parts, as older versions stored it.
func (d destinationIdentity) hashed() destinationIdentity {
	parts := map[string]string{}
	for k, text := range d.Parts {
		parts[k] = hashBefore(text, 4)
	}
	if d.Parts != nil {
		d.Parts = parts
	}
	return d
}

// hashBefore is how older versions hashed a part of a description, or a transform step: by this many bytes.
func hashBefore(text string, n int) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:n])
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

// before is the identity as older versions hashed all of it.
func (m identity) before() identity {
	m.Destinations = slices.Clone(m.Destinations)
	for i, d := range m.Destinations {
		m.Destinations[i] = d.hashed()
	}
	return m
}

// destination is the one of that name.
func (m identity) destination(name string) (destinationIdentity, bool) {
	for _, d := range m.Destinations {
		if d.Name == name {
			return d, true
		}
	}
	return destinationIdentity{}, false
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
func (j *Job) Names() (id, before string) {
	meta := j.identity()
	return hashOf(meta.input()), hashOf(meta.before())
}

// identity returns the identity of the job, with the secrets that may be in an address or a mapping.
func (j *Job) identity() (meta identity) {
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
		meta.Transform, meta.steps = j.Steps.Identity(), j.Steps.Written()
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
			d.Actions, d.Parts = append(d.Actions, described+hashBefore(o.Spec.Made, sha256.Size)), o.Spec.Parts
		}
		for _, sub := range o.Config.Actions {
			d.Actions = append(d.Actions, sub.Action+"|"+sub.Subscribe+"|"+sub.Mapping.String())
		}
		meta.Destinations = append(meta.Destinations, d)
	}
	slices.SortFunc(meta.Destinations, func(a, b destinationIdentity) int { return strings.Compare(a.Name, b.Name) })
	return meta
}

// described is what the first action of a destination begins with that the user has described.
const described = "described|"

package run

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/fanfold/fanfold/pkg/config"
	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/secret"
)

// worldOf is a world with these secrets.
func worldOf(secrets ...string) *World {
	set := &secret.Set{}
	set.Add(secrets...)
	return &World{Hide: set.Replace, Redact: set.Redact}
}

// configured is an identity in which a text stands at every place of a configuration where one can.
func configured(t *testing.T, text string) identity {
	d := destinationIdentity{Name: "own", Type: "http"}
	v := reflect.ValueOf(&d).Elem()
	for i := range v.NumField() {
		switch f := v.Field(i).Addr().Interface().(type) {
		case *string:
			if *f == "" {
				*f = "before " + text + " after"
			}
		case *[]string:
			*f = []string{described + hashBefore(text, 32), `send|type = "` + text + `"|{"a":"` + text + `","b":1}`}
		case *map[string]any:
			*f = map[string]any{"account": text, "more": []any{map[string]any{text: 12, "n": text}}, "n": 1.5}
		case *map[string]string:
			*f = map[string]string{"base_url": `"https://` + text + `.example"`, "actions.send.path": `"/in"`}
		default:
			t.Fatalf("%s: what stands in it?", v.Type().Field(i).Name)
		}
	}
	step := `set ["set","",["context.ip","` + text + `"]]`
	return identity{From: []string{"/in.jsonl"}, Transform: hashBefore(step, 16), Destinations: []destinationIdentity{d},
		steps: []string{`drop ["drop","","type = \"page\""]`, step}}
}

// asked is a destination with a plan, and nothing else.
type asked struct {
	destination.Sender
	plan destination.Plan
}

func (a asked) Plan() *destination.Plan { return &a.plan }

// TestNoPlainHashes: whatever is stored depends on a secret only by its print, which is expensive to make.
func TestNoPlainHashes(t *testing.T) {
	const one, two = "hunter22-one", "hunter22-two"
	stored := func(text string) string {
		w := worldOf(text)
		meta := configured(t, text)
		salt := hashOf(meta.input())
		w.sealer.made = map[[2]string]string{{salt, text}: "aaaaaaaaaa"}
		s := &SavedPlan{Identity: w.keep(meta, "")}
		s.Catalogue = map[string]string{"own": w.makes(salt, &config.Opened{Destination: &config.Destination{Name: "own"},
			Sender: asked{plan: destination.Plan{Content: "url=" + text, Subscribed: []string{"send when " + text}}}})}
		data, err := json.Marshal(s)
		if err != nil || len(w.sealer.made) != 1 {
			t.Fatal(err, w.sealer.made)
		}
		return string(data)
	}
	if a, b := stored(one), stored(two); a != b {
		t.Errorf("a secret shows without its print:\n%s\n%s", a, b)
	} else if n := strings.Count(a, "***~aaaaaaaaaa"); n < 10 {
		t.Errorf("%d seals: %s", n, a)
	}
}

// TestSealed: a change of a secret is a change of the place where it stands, and nothing else is one: neither that
// a text is a secret now, because of another place where it stands, nor that it no longer is.
func TestSealed(t *testing.T) {
	keys := func(k *keptIdentity, w *World, now identity) string {
		p := picked{kept: k, dir: t.TempDir()}
		seen := w.see(k, now)
		if !k.has(now.Destinations[0], seen.Destinations[0]) {
			return "another"
		}
		p.compare(w, now)
		var all []string
		for _, d := range p.differs {
			all = append(all, d.Keys...)
		}
		return strings.Join(all, " ")
	}
	without := func(change func(d *destinationIdentity), text string) identity {
		m := configured(t, text)
		m.Destinations[0].Settings["more"], m.Destinations[0].BaseURL = nil, ""
		change(&m.Destinations[0])
		return m
	}
	same := func(*destinationIdentity) {}
	for _, set := range [][]string{{"hunter22-one"}, {"hunter22-one", "hunter22"}, {"account"}, {"before "}, nil} {
		w := worldOf("hunter22-one", "production")
		meta := without(same, "hunter22-one")
		for name, k := range map[string]*keptIdentity{"stored": w.keep(meta, ""),
			"by an older version": keepBefore(w, meta)} {
			data, err := json.Marshal(k)
			if err != nil || strings.Contains(string(data), "hunter22") {
				t.Fatal(err, string(data))
			}
			k = &keptIdentity{}
			if err := json.Unmarshal(data, k); err != nil {
				t.Fatal(err)
			}
			now := worldOf(set...)
			if got := keys(k, now, meta); got != "" {
				t.Errorf("%s, with the secrets %q: %s", name, set, got)
			}
			again := now.keep(meta, k.salt()).with(k) // the next process stores it anew
			if got := keys(again, w, meta); got != "" {
				t.Errorf("%s, with the secrets %q and then others: %s", name, set, got)
			}
		}
	}
	w := worldOf("hunter22-one", "hunter22-two")
	meta := without(same, "hunter22-one")
	stored, before := w.keep(meta, ""), keepBefore(w, meta)
	filter := func(d *destinationIdentity) { d.Filter = strings.ReplaceAll(d.Filter, "hunter22-one", "hunter22-two") }
	mapping := func(d *destinationIdentity) {
		d.Actions[1] = strings.Replace(d.Actions[1], `"a":"hunter22-one"`, `"a":"hunter22-two"`, 1)
	}
	part := func(d *destinationIdentity) { d.Parts["actions.send.path"] = `"/hunter22-two"` }
	who := func(d *destinationIdentity) { d.BaseURL = "https://hunter22-two.example" }
	for _, c := range []struct {
		change           func(*destinationIdentity)
		sealed, unsealed string
	}{
		{filter, "filter", fromElsewhere}, {mapping, "actions.send.mapping.a", fromElsewhere},
		{part, "actions.send.path", "actions.send.path"}, {who, "another", "another"},
	} {
		now := without(c.change, "hunter22-one")
		if got := keys(stored, w, now); got != c.sealed {
			t.Errorf("%q instead of %q", got, c.sealed)
		}
		if got := keys(before, w, now); got != c.unsealed {
			t.Errorf("by an older version: %q instead of %q", got, c.unsealed)
		}
	}
	steps := without(same, "hunter22-one")
	steps.steps = slices.Clone(steps.steps)
	steps.steps[1] = strings.ReplaceAll(steps.steps[1], "one", "two")
	steps.Transform = "other"
	for _, k := range []*keptIdentity{stored, before} {
		if got := keys(k, w, steps); got != "transform, step 2 (set)" {
			t.Errorf("%q", got)
		}
	}
}

// keepBefore is what versions before the seals stored.
func keepBefore(w *World, meta identity) *keptIdentity {
	meta = meta.before()
	k := &keptIdentity{Version: identityVersion, Input: hashOf(meta.input()), Transform: hashOf(meta.Transform),
		Destinations: map[string]keptHashes{}}
	for _, d := range meta.Destinations {
		k.Destinations[d.Name] = keptHashes{Who: hashOf(d.who()), All: hashOf(d)}
	}
	for _, s := range meta.steps {
		kind, text, _ := strings.Cut(s, " ")
		k.Steps = append(k.Steps, kind+" "+hashBefore(text, 8))
	}
	data, err := json.Marshal(meta)
	if err == nil {
		err = json.Unmarshal(secret.JSON(data, w.Redact), &k.Identity)
	}
	if err != nil {
		panic(err)
	}
	return k
}

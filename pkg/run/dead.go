package run

import (
	"cmp"
	"context"
	"fmt"
	"regexp"
	"slices"

	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/journal"
)

// DeadChoice says which dead letters of a run are shown.
type DeadChoice struct {
	To      []string // destinations; none: all, and the records that are no events
	Reasons []string // none: all
}

// Dead is a dead letter as it is shown.
type Dead struct {
	Letter
	Event, Name, User string // of the event: its messageId, what it is, and whose
	Raw               []byte // the letter as it is kept; valid during the call
}

// EachDead reads the dead letters of the run in a folder, those of one destination after those of
// another. It ends with the first error of each.
func EachDead(ctx context.Context, dir string, choice DeadChoice, each func(*Dead) error) error {
	s, err := Standing(dir)
	if err != nil {
		return err
	}
	names := []string{"_source"}
	for _, d := range s.Destinations {
		names = append(names, d.Name)
	}
	for _, name := range choice.To {
		if !slices.Contains(names, name) {
			return mistakef("--to: run %s has no destination %s", s.Run, name)
		}
	}
	for _, name := range names {
		if len(choice.To) > 0 && !slices.Contains(choice.To, name) {
			continue
		}
		if err := eachDeadOf(ctx, dir, name, choice.Reasons, each); err != nil {
			return err
		}
	}
	return nil
}

func eachDeadOf(ctx context.Context, dir, name string, reasons []string, each func(*Dead) error) error {
	letters, err := journal.Letters(dir, name)
	if err != nil || len(letters) == 0 {
		return err
	}
	known, err := (&redriven{dir: redrivenDir(dir)}).read(name)
	if err != nil {
		return err
	}
	var failed error
	err = eachLetter(ctx, letters, func(v event.Value) {
		d := &Dead{Letter: letterOf(v), Raw: v.Raw()}
		if failed != nil || len(reasons) > 0 && !slices.Contains(reasons, d.Reason) {
			return
		}
		d.RedrivenBy = known[d.name]
		if ev, wrong := event.Parse(textOf(v)); wrong == nil {
			d.Event, d.Name, d.User = ev.MessageID().Text(), nameIn(ev), ev.UserID().Text()
			if d.User == "" {
				d.User = ev.AnonymousID().Text()
			}
		}
		failed = each(d)
	})
	return cmp.Or(failed, err)
}

// DeadGroup are dead letters that have something in common.
type DeadGroup struct {
	Destination, Key string
	Letters          uint64
	Redriven         uint64 // of them, by redrives since
	Example          Letter
}

// mostGroups bounds the groups: what they are made of may be data.
const mostGroups = 10_000

// Others is the group of all that come when there are too many.
const Others = "(others)"

// GroupDead counts the dead letters of the run in a folder by reason, event or field, the largest
// groups first.
func GroupDead(ctx context.Context, dir string, choice DeadChoice, by string) ([]*DeadGroup, error) {
	groups := map[[2]string]*DeadGroup{}
	err := EachDead(ctx, dir, choice, func(d *Dead) error {
		key := [2]string{d.Destination, d.key(by)}
		if groups[key] == nil && len(groups) >= mostGroups {
			key[1] = Others
		}
		g := groups[key]
		if g == nil {
			g = &DeadGroup{Destination: d.Destination, Key: key[1], Example: d.Letter}
			groups[key] = g
		}
		g.Letters++
		if d.RedrivenBy != "" {
			g.Redriven++
		}
		return nil
	})
	var list []*DeadGroup
	for _, g := range groups {
		list = append(list, g)
	}
	slices.SortFunc(list, func(a, b *DeadGroup) int {
		return cmp.Or(cmp.Compare(b.Letters, a.Letters), cmp.Compare(a.Destination, b.Destination), cmp.Compare(a.Key, b.Key))
	})
	return list, err
}

func (d *Dead) key(by string) string {
	switch by {
	case "event":
		return cmp.Or(d.Name, "(no event)")
	case "field":
		return cmp.Or(FieldNamed(d.Detail), "(no field is named)")
	}
	if d.Status != 0 {
		return fmt.Sprintf("%s, status %d", d.Reason, d.Status)
	}
	return d.Reason
}

// FieldNamed is the field that a sentence about an event blames, ours or a partner's; "": it names
// none. Partners have many ways to say so: it is a guess, for groups.
func FieldNamed(detail string) string {
	for _, p := range [...]string{
		`(?i)required field '([^']{1,80})'`,
		`(?i)"(?:param|field|property|attribute|pointer|path|source|key)"\s*:\s*"([^"]{1,80})"`,
		`(?i)(?:field|property|parameter|attribute|param|key) ["'` + "`" + `]([^"'` + "`" + `]{1,80})["'` + "`" + `]`,
		`(?i)["'` + "`" + `]([\w.$\[\]/-]{1,80})["'` + "`" + `] (?:is|must|should|has|was|cannot)\b`,
		`(?i)(?:missing|invalid|unknown) (?:field|property|parameter|value for)?:? ?["'` + "`" + `]?([\w.$\[\]/-]{2,80})["'` + "`" + `]?$`,
		`^([\w.$\[\]/-]{2,80}) (?:is required|is missing|must |should |is not |is invalid|cannot )`,
	} {
		if m := regexp.MustCompile(p).FindStringSubmatch(detail); m != nil {
			return m[1]
		}
	}
	return ""
}

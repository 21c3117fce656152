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

// DeadChoice selects the dead letters of a run that are shown.
type DeadChoice struct {
	To      []string // destinations; none: all, and bad records
	Reasons []string // none: all
}

// Dead is a dead letter in the form in which it is shown.
type Dead struct {
	Letter
	Event, Name, User string // of the event: its messageId, its name, and its user
	Raw               []byte // the letter as stored; valid during the call
}

// EachDead reads the dead letters of the run in a folder, one destination after the other. It ends with the first
// error of each.
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
	reasons := map[string]int{} // that occur
	for _, name := range names {
		if len(choice.To) > 0 && !slices.Contains(choice.To, name) {
			continue
		}
		err := eachDeadOf(ctx, dir, name, func(d *Dead) error {
			if reasons[d.Reason]++; len(choice.Reasons) > 0 && !slices.Contains(choice.Reasons, d.Reason) {
				return nil
			}
			return each(d)
		})
		if err != nil {
			return err
		}
	}
	return noSuchReason(s.Run, choice.Reasons, reasons)
}

// noSuchReason is the error for a reason that no dead letter has: an empty answer could be taken for success.
func noSuchReason(run string, asked []string, has map[string]int) error {
	for _, reason := range asked {
		if has[reason] > 0 {
			continue
		}
		list := "none"
		for i, k := range sortedKeys(has) {
			if list += ", "; i == 0 {
				list = ""
			}
			list += fmt.Sprintf("%s (%d)", k, has[k])
		}
		return mistakef("--reason: run %s has no dead letter with the reason %q; it has %s", run, reason, list)
	}
	return nil
}

func eachDeadOf(ctx context.Context, dir, name string, each func(*Dead) error) error {
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
		if failed != nil {
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

// DeadGroup is a group of dead letters that have something in common.
type DeadGroup struct {
	Destination, Key string
	Letters          uint64
	Redriven         uint64 // those of them that redrives have delivered since
	Example          Letter
}

// mostGroups bounds the number of groups, because their keys may come from data.
const mostGroups = 10_000

// Others is the group for everything beyond mostGroups.
const Others = "(others)"

// GroupDead counts the dead letters of the run in a folder by reason, event or field, for each of these that is
// asked for, largest groups first. It reads the letters once.
func GroupDead(ctx context.Context, dir string, choice DeadChoice, by ...string) (map[string][]*DeadGroup, error) {
	groups := map[[3]string]*DeadGroup{}
	size := map[string]int{}
	fields := newFieldNames()
	err := EachDead(ctx, dir, choice, func(d *Dead) error {
		for _, by := range by {
			key := [3]string{by, d.Destination, d.key(by, fields)}
			if groups[key] == nil && size[by] >= mostGroups {
				key[2] = Others
			}
			g := groups[key]
			if g == nil {
				g = &DeadGroup{Destination: d.Destination, Key: key[2], Example: d.Letter}
				groups[key] = g
				size[by]++
			}
			g.Letters++
			if d.RedrivenBy != "" {
				g.Redriven++
			}
		}
		return nil
	})
	lists := map[string][]*DeadGroup{}
	for key, g := range groups {
		lists[key[0]] = append(lists[key[0]], g)
	}
	for _, list := range lists {
		slices.SortFunc(list, func(a, b *DeadGroup) int {
			return cmp.Or(cmp.Compare(b.Letters, a.Letters), cmp.Compare(a.Destination, b.Destination),
				cmp.Compare(a.Key, b.Key))
		})
	}
	return lists, err
}

func (d *Dead) key(by string, fields *fieldNames) string {
	switch by {
	case "event":
		return cmp.Or(d.Name, "(no event)")
	case "field":
		return cmp.Or(fields.of(d.Detail), "(no field is named)")
	}
	if d.Status != 0 {
		return fmt.Sprintf("%s, status %d", d.Reason, d.Status)
	}
	return d.Reason
}

// fieldNames find the field that an error message blames, ours or a partner's. Partners phrase this in many ways,
// so it is a guess, used only for grouping.
type fieldNames struct {
	ways  []*regexp.Regexp
	known map[string]string // by message: many dead letters have the same
}

// mostKnown bounds the messages that are remembered, because they may contain data.
const mostKnown = 1000

func newFieldNames() *fieldNames {
	f := &fieldNames{known: map[string]string{}}
	for _, way := range [...]string{
		`(?i)required field '([^']{1,80})'`,
		`(?i)"(?:param|field|property|attribute|pointer|path|source|key)"\s*:\s*"([^"]{1,80})"`,
		`(?i)(?:field|property|parameter|attribute|param|key) ["'` + "`" + `]([^"'` + "`" + `]{1,80})["'` + "`" + `]`,
		`(?i)["'` + "`" + `]([\w.$\[\]/-]{1,80})["'` + "`" + `] (?:is|must|should|has|was|cannot)\b`,
		`(?i)(?:missing|invalid|unknown) (?:field|property|parameter|value for)?:? ?["'` + "`" + `]?([\w.$\[\]/-]{2,80})["'` +
			"`" + `]?$`,
		`^([\w.$\[\]/-]{2,80}) (?:is required|is missing|must |should |is not |is invalid|cannot )`,
	} {
		f.ways = append(f.ways, regexp.MustCompile(way))
	}
	return f
}

// of is the field that a message blames; "": it names none.
func (f *fieldNames) of(detail string) (name string) {
	if known, ok := f.known[detail]; ok {
		return known
	}
	for _, way := range f.ways {
		if m := way.FindStringSubmatch(detail); m != nil {
			name = m[1]
			break
		}
	}
	if len(f.known) < mostKnown {
		f.known[detail] = name
	}
	return name
}

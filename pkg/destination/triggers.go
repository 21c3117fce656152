package destination

import (
	"strconv"
	"strings"
)

// Called is the trigger for track calls with any of some names.
func Called(names ...string) string {
	return "event = " + strings.Join(quoted(names), " or event = ")
}

// CalledOtherwise is the trigger for all track calls except those with some names.
func CalledOtherwise(names ...string) string {
	return `type = "track" and event != ` + strings.Join(quoted(names), " and event != ")
}

// Presets are presets that change nothing of their actions, each as "name: action". It panics for a line that is none.
func Presets(lines ...string) (list []Preset) {
	for _, line := range lines {
		name, action, ok := strings.Cut(line, ": ")
		if !ok {
			panic("destination: preset " + line + ` is not "name: action"`)
		}
		list = append(list, Preset{Name: name, Action: action})
	}
	return list
}

func quoted(names []string) []string {
	var out []string
	for _, n := range names {
		out = append(out, strconv.Quote(n))
	}
	return out
}

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

func quoted(names []string) []string {
	var out []string
	for _, n := range names {
		out = append(out, strconv.Quote(n))
	}
	return out
}

package destination

import (
	"strconv"
	"strings"
)

// Called is the trigger of track calls by any of some names.
func Called(names ...string) string {
	return "event = " + strings.Join(quoted(names), " or event = ")
}

// CalledOtherwise is the trigger of all track calls but those by some names.
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

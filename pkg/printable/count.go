package printable

import "fmt"

// Count is a number of things, in words that fit the number: 1 event, 2 events.
func Count[N int | int64 | uint64](n N, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

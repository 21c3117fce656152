//go:build !race

package destinations_test

// raced says that the race detector runs, which allocates for itself.
const raced = false

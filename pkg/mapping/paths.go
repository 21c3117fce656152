package mapping

// Paths is the value at the first of several paths that is neither undefined
// nor null; at the last one whatever stands there. It is the chain of If that
// Segment's defaults are full of.
func Paths(paths ...string) Value {
	v := Path(paths[len(paths)-1])
	for i := len(paths) - 2; i >= 0; i-- {
		v = If(Path(paths[i]), Path(paths[i]), v)
	}
	return v
}

package mapping

// ownDirective returns our own directives.
func ownDirective(name string) (directiveSpec, bool) { return directiveSpec{}, false }

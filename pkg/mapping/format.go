package mapping

func formatOK(format string, raw []byte) bool { return true }
func formatLabel(f string) string             { return f }
func dateLike(raw []byte) bool                { return true }

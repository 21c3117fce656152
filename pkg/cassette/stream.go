package cassette

import (
	"mime"
	"slices"
)

// isStream tells whether a body of a type comes bit by bit, with pauses that
// mean something.
func isStream(contentType string) bool {
	media, _, err := mime.ParseMediaType(contentType)
	return err == nil && slices.Contains([]string{
		"text/event-stream", "application/x-ndjson", "application/ndjson", "application/jsonl", "application/jsonlines",
		"application/x-jsonlines", "application/json-seq", "application/stream+json", "multipart/x-mixed-replace",
		"application/vnd.amazon.eventstream",
	}, media)
}

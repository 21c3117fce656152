package redact

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// FileScan is the result of searching a file for secrets.
type FileScan struct {
	Leaks []Leak
	// Written is true if the file was written from documentation: the persons in it are
	// invented.
	Written bool
	Bytes   int
}

// ScanFile searches a file for secrets: the parts that a cassette has, members that no
// cassette has, and comments. A file that is neither YAML nor JSON is searched line by
// line. The result never names a place whose name may itself be a secret. Only the
// extension of the name is used, to recognise the format.
func (r *Redactor) ScanFile(name string, data []byte) FileScan {
	out := FileScan{Bytes: len(data)}
	w := fileWalk{r: r}
	switch filepath.Ext(name) {
	case ".jsonl":
		w.lines(data, true)
	case ".json", ".har":
		if !w.json(data, "") {
			w.lines(data, false)
		}
	default:
		if !w.yaml(data) {
			w = fileWalk{r: r}
			w.lines(data, false)
		}
	}
	out.Leaks, out.Written = r.elsewhere(w.leaks, data), w.written
	return out
}

// fileWalk searches a document.
type fileWalk struct {
	r       *Redactor
	leaks   []Leak
	seen    map[Leak]bool
	inner   int    // the interaction to which the searched text belongs
	under   string // the path of the searched text; "": the file itself is searched
	written bool
}

func (w *fileWalk) add(n int, path, kind, hit string) {
	if w.under != "" {
		n, path = w.inner, w.under+path
	}
	w.keep(Leak{n, path, kind, mask(hit)})
}

// keep records a leak, each only once.
func (w *fileWalk) keep(l Leak) {
	if w.seen[l] {
		return
	}
	if w.seen == nil {
		w.seen = map[Leak]bool{}
	}
	w.seen[l] = true
	w.leaks = append(w.leaks, l)
}

// leaf searches a value under a name. Headers have names of their own.
func (w *fileWalk) leaf(n int, path, name, v string) {
	header := ""
	if strings.Contains(strings.ToLower(path), "header") {
		header = secretHeader(http.CanonicalHeaderKey(name))
	}
	if hit := w.r.bare(header, http.CanonicalHeaderKey(name), v); hit != "" && !personal(header) {
		w.add(n, path, header, hit)
		return
	}
	if kind := w.r.kindOf(name, v); kind != "" && !stays(kind, v) && w.r.bare(kind, name, v) != "" && !isWordy(v) {
		w.add(n, path, kind, v)
		return
	}
	w.body(n, path, v)
}

// maxOfBody limits how many leaks are listed of one text.
const maxOfBody = 100

// body searches every part of a text: each member of JSON, or else each line. A secret
// that is found only in the whole text counts as one leak.
func (w *fileWalk) body(n int, path, v string) {
	kind, hit := w.r.find(v, 0)
	if kind == "" {
		return
	}
	before := len(w.leaks)
	if validJSON(v) && (v[0] == '{' || v[0] == '[') {
		inner := fileWalk{r: w.r, inner: n, under: path + " "}
		if w.under != "" {
			inner.inner, inner.under = w.inner, w.under+inner.under
		}
		inner.json([]byte(v), "")
		for _, l := range inner.leaks[:min(len(inner.leaks), maxOfBody)] {
			w.keep(l)
		}
	} else if strings.Contains(v, "\n") {
		for line := range strings.Lines(v) {
			if k, part := w.r.find(line, 0); k != "" {
				w.add(n, path, k, part)
			}
			if len(w.leaks) == before+maxOfBody {
				break
			}
		}
	}
	if len(w.leaks) == before {
		w.add(n, path+w.r.within(v), kind, hit)
	}
}

// isWordy is true for values that have telling names in files but are no secrets:
// words, numbers and names of variables.
func isWordy(v string) bool {
	return len(v) < MinSecret || !learnable(v) && !strings.ContainsAny(v, " ")
}

// lines searches lines of text. If each may be JSON, as in a crash journal, its members are searched.
func (w *fileWalk) lines(data []byte, inJSON bool) {
	n := 0
	for line := range bytes.Lines(data) {
		n++
		place := "line " + strconv.Itoa(n)
		if inJSON && w.json(line, place+" ") {
			continue
		}
		if kind, hit := w.r.find(string(line), 0); kind != "" {
			w.add(-1, place, kind, hit)
		}
	}
}

func (w *fileWalk) json(data []byte, prefix string) bool {
	dec := json.NewDecoder(bytes.NewReader(bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))))
	dec.UseNumber()
	for {
		var v any
		switch err := dec.Decode(&v); {
		case errors.Is(err, io.EOF):
			return true
		case err != nil:
			return false
		}
		w.value(prefix+"$", "", v)
	}
}

// value searches decoded JSON.
func (w *fileWalk) value(path, name string, v any) {
	switch v := v.(type) {
	case map[string]any:
		if path == "line 1 $" && v["written"] == "from documentation" {
			w.written = true // the first line of such a file says so
		}
		label := ""
		for k, e := range v {
			if text, ok := e.(string); ok && labels[flatName(k)] {
				label = text
			}
		}
		for _, k := range slices.Sorted(maps.Keys(v)) {
			under := k
			if label != "" && values[flatName(k)] {
				under = label
			}
			if kind, hit := w.r.find(k, 0); kind != "" {
				w.add(-1, path+" (a name)", kind, hit)
			}
			w.value(path+w.r.safe(".", k), under, v[k])
		}
	case []any:
		for n, e := range v {
			w.value(path+"["+strconv.Itoa(n)+"]", name, e)
		}
	case string:
		w.leaf(-1, path, name, v)
	case json.Number:
		w.leaf(-1, path, "", v.String())
	}
}

func (w *fileWalk) yaml(data []byte) bool {
	dec := yaml.NewDecoder(bytes.NewReader(data))
	for {
		var doc yaml.Node
		switch err := dec.Decode(&doc); {
		case errors.Is(err, io.EOF):
			return true
		case err != nil:
			return false
		}
		w.comments(&doc)
		for _, c := range doc.Content {
			w.node(c, "", "", -1)
		}
	}
}

// comments searches the comments of a node, and of the nodes in it.
func (w *fileWalk) comments(n *yaml.Node) {
	for _, c := range []string{n.HeadComment, n.LineComment, n.FootComment} {
		if kind, hit := w.r.find(c, 0); kind != "" {
			w.add(-1, fmt.Sprintf("a comment near line %d", n.Line), kind, hit)
		}
	}
	for _, c := range n.Content {
		w.comments(c)
	}
}

// node searches YAML. number is that of the interaction to which the node belongs.
func (w *fileWalk) node(n *yaml.Node, path, name string, number int) {
	switch n.Kind {
	case yaml.MappingNode:
		label := ""
		for i := 0; i+1 < len(n.Content); i += 2 {
			k, v := n.Content[i].Value, n.Content[i+1]
			if v.Kind == yaml.ScalarNode && labels[flatName(k)] {
				label = v.Value
			}
			if path == "" && (k == "provenance" || k == "written") && (strings.HasPrefix(v.Value, "written:") ||
				v.Value == "from documentation") {
				w.written = true
			}
		}
		for i := 0; i+1 < len(n.Content); i += 2 {
			k := n.Content[i].Value
			if kind, hit := w.r.find(k, 0); kind != "" {
				w.add(number, strings.TrimPrefix(path+" (a name)", " "), kind, hit)
			}
			under := k
			if label != "" && values[flatName(k)] {
				under = label
			}
			w.node(n.Content[i+1], strings.TrimPrefix(path+w.r.safe(".", k), "."), under, number)
		}
	case yaml.SequenceNode:
		for i, c := range n.Content {
			if path == "interactions" {
				w.node(c, "", name, i)
				continue
			}
			w.node(c, path+"["+strconv.Itoa(i)+"]", name, number)
		}
	case yaml.ScalarNode:
		w.leaf(number, strings.Replace(path, ".headers.", ".header.", 1), name, scalar(n))
	}
}

// scalar is the text of a value. Binary values are decoded.
func scalar(n *yaml.Node) string {
	var data string
	if n.Tag == "!!binary" && n.Decode(&data) == nil {
		return data
	}
	return n.Value
}

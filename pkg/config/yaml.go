package config

import (
	"bytes"
	"fmt"
	"regexp"
	"sort"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// mostRepairs bounds how many mistakes of syntax are looked for in one file.
const mostRepairs = 20

// parseYAML parses a file. A mistake of syntax is said with its line and what to do, and
// then mended in memory, so that it does not hide what is wrong behind it. ok says that
// what was parsed can be looked at further: a mistake that could only be passed over has
// taken something away.
func parseYAML(data []byte, p *problems) (doc *yaml.Node, ok bool) {
	ok = true
	lines := bytes.SplitAfter(data, []byte("\n"))
	for range mostRepairs {
		doc = new(yaml.Node)
		err := yaml.Unmarshal(bytes.Join(lines, nil), doc)
		if err == nil {
			return doc, ok
		}
		msg, line := culprit(lines, err)
		if line == 0 {
			p.add(0, "%s", msg)
			return nil, false
		}
		at := line - 1
		mended, hint, whole := mend(string(lines[at]), msg, insideBrackets(lines[:at]))
		if hint != "" {
			p.add(line, "%s", hint)
		}
		ok = ok && whole
		lines[at] = []byte(mended)
	}
	return nil, false
}

var yamlLine = regexp.MustCompile(`^line (\d+): `)

// culprit returns what the parser says, and the line without which it would not say so:
// its own is often that of what the culprit is part of.
func culprit(lines [][]byte, err error) (msg string, line int) {
	msg = strings.TrimPrefix(err.Error(), "yaml: ")
	if m := yamlLine.FindStringSubmatch(msg); m != nil {
		line, _ = strconv.Atoi(m[1]) // digits
		msg = msg[len(m[0]):]
	}
	size := 0
	for _, l := range lines {
		size += len(l)
	}
	if size < 1<<20 { // else it takes long
		n := sort.Search(len(lines), func(i int) bool {
			var doc yaml.Node
			e := yaml.Unmarshal(bytes.Join(lines[:i+1], nil), &doc)
			return e != nil && e.Error() == err.Error()
		})
		if n < len(lines) {
			line = n + 1
		}
	}
	return msg, min(line, len(lines))
}

// insideBrackets says that { or [ is open at the end of some lines.
func insideBrackets(lines [][]byte) bool {
	var b brackets
	for _, l := range lines {
		b.read(l)
	}
	return b.depth > 0
}

// brackets counts the brackets that are open, as far as it can be told without reading
// all of YAML.
type brackets struct {
	depth int
	quote byte // in which a text between them is
}

func (b *brackets) read(line []byte) {
	if b.depth == 0 {
		b.quote = 0
	}
	for i := 0; i < len(line); i++ {
		before := byte(' ')
		if i > 0 {
			before = line[i-1]
		}
		switch c := line[i]; {
		case b.quote == '"' && c == '\\':
			i++
		case b.quote != 0:
			if c == b.quote {
				b.quote = 0
			}
		case (c == '"' || c == '\'') && strings.IndexByte(" \t{[,:", before) >= 0:
			b.quote = c
		case c == '#' && (before == ' ' || before == '\t'):
			return
		case c == '$' && bytes.HasPrefix(line[i:], []byte("${")):
			i += max(bytes.IndexByte(line[i:], '}'), 0)
		case c == '{', c == '[':
			b.depth++
		case (c == '}' || c == ']') && b.depth > 0:
			b.depth--
		}
	}
}

// Parts of what may stand between brackets without quotes, and of what may not.
const (
	plainText = `[^\s"',\[\]{}]`
	variable  = `\$\{[A-Za-z_][A-Za-z0-9_]*\}`
)

var (
	indent    = regexp.MustCompile(`^[ \t]*`)
	entry     = regexp.MustCompile(`^(\s*(?:- +)*)([\w.$@/-]+):[ \t]+(\S.*?)[ \t]*(\r?\n?)$`)
	bareAt    = regexp.MustCompile(`([{,\[]\s*)(@[A-Za-z]+)(\s*:)`)
	bareValue = regexp.MustCompile(`(:\s+|[\[,]\s*)(@[^\s,\]}"']*)`)
	bareEnv   = regexp.MustCompile(`(:\s+|[\[,]\s*)(` + plainText + `*` +
		variable + `(?:` + plainText + `|` + variable + `)*)`)
	blankColon = regexp.MustCompile(`:(\s|$)|\s#`)
)

// mend returns a line as it was probably meant, and what to do about it. whole says that
// nothing of it was lost: no hint, that it was no mistake.
func mend(line, msg string, inBrackets bool) (mended, hint string, whole bool) {
	lead := indent.FindString(line)
	if strings.Contains(lead, "\t") {
		spaces := strings.ReplaceAll(lead, "\t", "  ") + line[len(lead):]
		if inBrackets { // pasted JSON is indented as it likes
			return spaces, "", true
		}
		return spaces, "it is indented with a tab; YAML takes spaces only", false
	}
	if inBrackets && strings.Contains(line, "\t") {
		return strings.ReplaceAll(line, "\t", " "), "", true
	}
	if now := quoteBare(line); now != line {
		return now, "put it in quotes: " + strings.TrimSpace(now), true
	}
	if m := entry.FindStringSubmatch(line); m != nil && !inBrackets && needsQuotes(m[3]) {
		now := m[1] + m[2] + ": '" + strings.ReplaceAll(m[3], "'", "''") + "'" + m[4]
		return now, "put it in quotes: " + strings.TrimSpace(now), true
	}
	for _, known := range advice {
		if strings.Contains(msg, known.says) {
			msg += ": " + known.do
			break
		}
	}
	return "\n", msg, false
}

// quoteBare puts what YAML cannot read between brackets in quotes: @path, ${NAME}.
func quoteBare(line string) string {
	if !strings.ContainsAny(line, "{[") {
		return line
	}
	line = bareAt.ReplaceAllString(line, `$1"$2"$3`)
	line = bareEnv.ReplaceAllString(line, `$1"$2"`)
	return bareValue.ReplaceAllString(line, `$1"$2"`)
}

// needsQuotes says that a text would be read otherwise than it was meant.
func needsQuotes(value string) bool {
	switch value[0] {
	case '@', '`', '%':
		return true
	case '\'', '"': // a text goes on behind what looks like all of it
		end := strings.IndexByte(value[1:], value[0])
		rest := strings.TrimSpace(value[end+2:])
		return end >= 0 && rest != "" && rest[0] != '#'
	case '{', '[', '|', '>', '&', '*', '!', '#':
		return false
	}
	return blankColon.MatchString(value)
}

// advice says what to do about what the parser says.
var advice = []struct{ says, do string }{
	{"did not find expected key", "it is indented otherwise than the lines that it belongs to, " +
		"or a text in it or before it needs quotes"},
	{"mapping values are not allowed", "put the text that holds a colon in quotes"},
	{"did not find expected ',' or '}'", "a { or a quote is not closed, a comma is missing, or a text needs quotes"},
	{"did not find expected ',' or ']'", "a [ or a quote is not closed, a comma is missing, or a text needs quotes"},
	{"did not find expected node content", "a value is missing, or a text needs quotes"},
	{"found unexpected end of stream", "a quote or a bracket is not closed"},
	{"could not find expected ':'", "a colon and a blank belong behind every key"},
	{"found character that cannot start any token", "put the text in quotes"},
	{"unknown anchor", "* begins a reference in YAML: put it in quotes if it is a text"},
	{"block sequence entries are not allowed", "a list begins on a line of its own"},
}

// checkTwice adds the keys that stand twice in a table, wherever it is. YAML would take
// the last one.
func checkTwice(n *yaml.Node, p *problems) {
	if n.Kind == yaml.MappingNode {
		seen := map[string]int{}
		for i := 0; i+1 < len(n.Content); i += 2 {
			k := n.Content[i]
			if at, twice := seen[k.Value]; twice && k.Tag != "!!merge" {
				p.add(k.Line, "%s stands twice, first on line %d: take one of them out", k.Value, at)
			} else {
				seen[k.Value] = k.Line
			}
		}
	}
	for _, c := range n.Content {
		checkTwice(c, p)
	}
}

// What a file may hold when all of its references are followed.
const (
	mostNodes = 200_000
	mostDepth = 100
)

// follow returns a document in which what references (*name) stand for stands in their
// place, and what << merges is merged, so that nobody has to think of them again.
func follow(n *yaml.Node, depth int, left *int) (*yaml.Node, error) {
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if *left--; *left < 0 {
		return nil, fmt.Errorf("its references make more than %d values", mostNodes)
	}
	if depth > mostDepth {
		return nil, fmt.Errorf("it nests deeper than %d levels, or refers to itself", mostDepth)
	}
	out := *n
	out.Content = make([]*yaml.Node, 0, len(n.Content))
	var merged []*yaml.Node
	for i, c := range n.Content {
		whole, err := follow(c, depth+1, left)
		if err != nil {
			return nil, err
		}
		if n.Kind == yaml.MappingNode && n.Content[i&^1].Tag == "!!merge" {
			if i&1 == 1 {
				merged = append(merged, whole)
			}
			continue
		}
		out.Content = append(out.Content, whole)
	}
	for _, m := range merged {
		mergeInto(&out, m)
	}
	return &out, nil
}

// mergeInto adds the pairs of a table, or of several in a list, whose keys are not there.
func mergeInto(n, from *yaml.Node) {
	if from.Kind == yaml.SequenceNode {
		for _, one := range from.Content {
			mergeInto(n, one)
		}
		return
	}
	for i := 0; i+1 < len(from.Content) && from.Kind == yaml.MappingNode; i += 2 {
		has := false
		for k := 0; k+1 < len(n.Content); k += 2 {
			has = has || n.Content[k].Value == from.Content[i].Value
		}
		if !has {
			n.Content = append(n.Content, from.Content[i], from.Content[i+1])
		}
	}
}

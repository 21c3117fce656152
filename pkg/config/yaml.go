package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"unicode/utf8"

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
	indentPasted(lines, p)
	quoteFilters(lines, p)
	for range mostRepairs {
		doc, more, err := unmarshal(lines)
		if err == nil {
			if more > 0 {
				p.add(more, "a second document begins here, and a configuration is one: take the --- out, or put what is "+
					"behind it in a file of its own")
			}
			return doc, ok
		}
		msg, line := culprit(lines, err)
		if line == 0 {
			p.add(0, "%s", msg)
			return nil, false
		}
		r := mend(lines, line-1, msg)
		if r.hint != "" {
			p.add(r.at+1, "%s", r.hint)
		}
		ok = ok && r.whole
		lines[r.at] = []byte(r.line)
	}
	return nil, false
}

// indentPasted indents JSON that was pasted from the first column on below a key that is indented itself.
func indentPasted(lines [][]byte, p *problems) {
	var open brackets
	var before, lead []byte // the last line with something in it; what the pasted lines lack
	for i, l := range lines {
		text := bytes.TrimSpace(l)
		if open.depth == 0 {
			lead = nil
			if in := indent.Find(before); len(in) > 0 && bytes.HasSuffix(bytes.TrimSpace(before), []byte(":")) && len(l) > 0 &&
				(l[0] == '[' || l[0] == '{') {
				lead = append(bytes.Clone(in), "  "...)
				key := bytes.TrimSpace(before)
				p.add(i+1, "what belongs to %s has to be indented deeper than it", key[:len(key)-1])
			}
		}
		open.read(l)
		if len(lead) > 0 {
			lines[i] = append(bytes.Clone(lead), l...)
		}
		if len(text) > 0 && text[0] != '#' {
			before = lines[i]
		}
	}
}

// filterKey is a key of a filter between brackets, before one without quotes.
var filterKey = regexp.MustCompile(`([{,]\s*(?:subscribe|trigger|filter|when|drop|keep):[ \t]+)([^\s"'{\[|>&*#].*)`)

// quoteFilters puts filters between brackets in quotes that hold what YAML takes for the end of a text.
func quoteFilters(lines [][]byte, p *problems) {
	for i, l := range lines {
		m := filterKey.FindSubmatchIndex(l)
		if m == nil || bytes.HasPrefix(bytes.TrimSpace(l), []byte("#")) {
			continue
		}
		end, special := filterEnd(string(l[m[4]:]))
		if text := strings.TrimSpace(string(l[m[4] : m[4]+end])); special {
			now := string(l[:m[4]]) + "'" + strings.ReplaceAll(text, "'", "''") + "'" + string(l[m[4]+end:])
			p.add(i+1, "put it in quotes: %s", strings.TrimSpace(now))
			lines[i] = []byte(now)
		}
	}
}

// filterEnd is where a filter ends that stands between brackets; special says that YAML would end it elsewhere.
func filterEnd(s string) (end int, special bool) {
	depth, quoted := 0, false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted && c == ':':
			special = special || strings.HasPrefix(s[i:], ": ")
		case quoted && c == '#':
			special = special || i > 0 && s[i-1] == ' '
		case quoted:
			special = special || strings.IndexByte(",[]{}", c) >= 0
		case c == '(' || c == '[':
			depth, special = depth+1, special || c == '['
		case (c == ')' || c == ']') && depth > 0:
			depth--
		case depth > 0:
			special = special || c == ','
		case strings.IndexByte(",}]", c) >= 0:
			return i, special
		}
	}
	return len(strings.TrimRight(s, "\r\n")), false // it goes on elsewhere
}

// unmarshal parses lines. more is the line of another document in them that is not empty; 0: there is none.
func unmarshal(lines [][]byte) (doc *yaml.Node, more int, err error) {
	d := yaml.NewDecoder(bytes.NewReader(bytes.Join(lines, nil)))
	doc = new(yaml.Node)
	if err = d.Decode(doc); err != nil {
		if errors.Is(err, io.EOF) {
			err = nil
		}
		return doc, 0, err
	}
	for {
		next := new(yaml.Node)
		switch err = d.Decode(next); {
		case errors.Is(err, io.EOF):
			return doc, more, nil
		case err != nil:
			return doc, more, err
		case more == 0 && (len(next.Content) == 0 || next.Content[0].Tag != "!!null"):
			more = next.Line
		}
	}
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
			_, _, e := unmarshal(lines[:i+1])
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
	indent = regexp.MustCompile(`^[ \t\p{Zs}]*`)
	entry  = regexp.MustCompile(`^(\s*(?:- +)*)([\w.$@/-]+):[ \t]+(\S.*?)[ \t]*(\r?\n?)$`)
	// anEntry is what a line looks like that holds a key or begins an element of a list.
	anEntry   = regexp.MustCompile(`^\s*(?:- +)*(?:"[^"]*"|'[^']*'|[^\s#][^:]*):(?:\s|$)|^\s*-(?:\s|$)`)
	noBlank   = regexp.MustCompile(`^(\s*(?:- +)*[A-Za-z][\w-]*):([^\s/][^\n]*\n?)$`)
	bareKey   = regexp.MustCompile(`^(\s*(?:- +)*)(@[A-Za-z]+)(:\s)`)
	bareAt    = regexp.MustCompile(`([{,\[]\s*)(@[A-Za-z]+)(\s*:)`)
	bareValue = regexp.MustCompile("(:\\s+|[\\[,]\\s*)([@%`][^\\s,\\]}\"']*)")
	bareEnv   = regexp.MustCompile(`(:\s+|[\[,]\s*)(` + plainText + `*` +
		variable + `(?:` + plainText + `|` + variable + `)*)`)
	blankColon = regexp.MustCompile(`:(\s|$)|\s#`)
	negation   = regexp.MustCompile(`^!\s*(?:\(|[A-Za-z_]+\()`)
	// directive is a mapping directive without the brackets around it.
	directive = regexp.MustCompile(`^(@[A-Za-z]+): +(\S.*)$`)
	// equals and wideColon are what others write behind a key.
	equals    = regexp.MustCompile(`^(\s*(?:- +)*[A-Za-z][\w.-]*)[ \t]*=[ \t]*([^\s=][^\n]*\n?)$`)
	wideColon = regexp.MustCompile(`^(\s*(?:- +)*[A-Za-z][\w.-]*)[ \t]*[：﹕][ \t]*([^\n]*\n?)$`)
	escaped   = regexp.MustCompile(`"([^"']*\\[^"']*)"`)
)

// repair is what is done to a line so that what is behind it can be read.
type repair struct {
	at   int // index of the line
	line string
	hint string // what to do about it; "": it was no mistake
	// whole says that nothing of it was lost.
	whole bool
}

// mend returns how a line was probably meant, or the line before it that is the cause.
func mend(lines [][]byte, at int, msg string) repair {
	if before := lineBefore(lines, at); before >= 0 && strings.Contains(msg, "mapping values are not allowed") &&
		strings.Trim(indent.FindString(string(lines[before])), " \t") != "" {
		at = before
	}
	if bytes.HasPrefix(lines[at], []byte("%YAML ")) && strings.Contains(msg, "incompatible YAML document") {
		return repair{at, "\n", "", true} // the parser knows 1.1 by name, and reads what is meant here all the same
	}
	line, inBrackets := string(lines[at]), insideBrackets(lines[:at])
	if lead := indent.FindString(line); strings.Trim(lead, " ") != "" {
		if inBrackets { // pasted JSON is indented as it likes
			return repair{at, blanks(lead) + line[len(lead):], "", true}
		}
		hint := "it is indented with a tab; YAML takes spaces only"
		if !strings.Contains(lead, "\t") {
			hint = "it is indented with blanks of another kind; YAML takes the ordinary ones only"
		}
		now, fits := asNeighbours(lines, at, line[len(lead):], blanks(lead))
		return repair{at, now, hint, fits}
	}
	if inBrackets && strings.Contains(line, "\t") {
		return repair{at, strings.ReplaceAll(line, "\t", " "), "", true}
	}
	if m := entry.FindStringSubmatch(line); m != nil && !inBrackets && directive.MatchString(m[3]) {
		d := directive.FindStringSubmatch(m[3])
		if blankColon.MatchString(d[2]) || strings.ContainsAny(d[2], "{}[],\"'") {
			d[2] = "'" + strings.ReplaceAll(strings.Trim(d[2], `"'`), "'", "''") + "'"
		}
		now := m[1] + m[2] + `: {"` + d[1] + `": ` + d[2] + "}" + m[4]
		return repair{at, now, "a directive stands in brackets, or on a line of its own: " + strings.TrimSpace(now), true}
	}
	if now := quoteBare(line); now != line {
		return repair{at, now, "put it in quotes: " + strings.TrimSpace(now), true}
	}
	if strings.Contains(msg, "unknown escape character") ||
		strings.Contains(msg, "did not find expected hexdecimal number") {
		if now := escaped.ReplaceAllString(line, "'$1'"); now != line {
			return repair{at, now, "a \\ between double quotes begins an escape: put the text in single ones: " +
				strings.TrimSpace(now), true}
		}
	}
	if m := entry.FindStringSubmatch(line); m != nil && !inBrackets && needsQuotes(m[3], msg) {
		now := m[1] + m[2] + ": '" + strings.ReplaceAll(m[3], "'", "''") + "'" + m[4]
		return repair{at, now, "put it in quotes: " + strings.TrimSpace(now), true}
	}
	if !inBrackets && (strings.Contains(msg, "mapping values are not allowed") || strings.Contains(msg, "expected ':'")) {
		if r, is := inText(lines, at); is {
			return r
		}
		if r, is := tooDeep(lines, at); is {
			return r
		}
		if r, is := noKey(lines, at); is {
			return r
		}
	}
	for _, known := range advice {
		if strings.Contains(msg, known.says) {
			msg += ": " + known.do
			break
		}
	}
	return repair{at, "\n", msg, false}
}

// blanks is an indentation in YAML's own blanks.
func blanks(lead string) string {
	return strings.Map(func(r rune) rune {
		if r == '\t' {
			return r
		}
		return ' '
	}, strings.ReplaceAll(lead, "\t", "  "))
}

// asNeighbours is a line as its neighbours are indented; fits: as far as this line, that is YAML.
func asNeighbours(lines [][]byte, at int, text, otherwise string) (now string, fits bool) {
	leads := []string{otherwise}
	for _, step := range []int{1, -1} { // the line before it comes first
		for i := at + step; i >= 0 && i < len(lines); i += step {
			if l := string(lines[i]); strings.TrimSpace(l) != "" {
				lead := indent.FindString(l)
				leads = append([]string{lead}, leads...)
				if step < 0 && strings.HasSuffix(strings.TrimSpace(l), ":") { // what belongs to it
					leads = append([]string{lead + "  "}, leads...)
				}
				break
			}
		}
	}
	mended := append([][]byte{}, lines...)
	for _, lead := range leads {
		if strings.Trim(lead, " ") != "" {
			continue
		}
		mended[at] = []byte(lead + text)
		_, _, err := unmarshal(mended)
		if err == nil {
			return lead + text, true
		}
		if _, line := culprit(mended, err); line > at+2 {
			return lead + text, true
		}
	}
	return otherwise + text, false
}

// lineBefore is the index of the last line before one that has something in it; -1: there is none.
func lineBefore(lines [][]byte, at int) int {
	for i := at - 1; i >= 0; i-- {
		if l := bytes.TrimSpace(lines[i]); len(l) > 0 && l[0] != '#' {
			return i
		}
	}
	return -1
}

// inText finds the line, this one or the one before it, that goes on with a text without quotes and holds a colon and a
// blank between quotes of its own: for YAML these are nothing.
func inText(lines [][]byte, at int) (r repair, is bool) {
	for _, i := range []int{at, lineBefore(lines, at)} {
		if i < 0 {
			continue
		}
		text := strings.TrimSpace(string(lines[i]))
		before, _, found := strings.Cut(text, ": ")
		if !found || strings.ContainsAny(text[:1], `"'`) || lineBefore(lines, i) < 0 ||
			strings.Count(before, `"`)%2 == 0 && strings.Count(before, "'")%2 == 0 {
			continue
		}
		return repair{i, strings.ReplaceAll(string(lines[i]), ": ", ":_"), "the text that goes on here holds a colon and a " +
			"blank: put all of it in quotes, or behind >- on the line of its key", true}, true
	}
	return r, false
}

// tooDeep says that a line is indented deeper than an entry before it that has its value already.
func tooDeep(lines [][]byte, at int) (r repair, is bool) {
	before := lineBefore(lines, at)
	if before < 0 || !anEntry.Match(lines[at]) || !entry.Match(lines[before]) || insideBrackets(lines[:before+1]) {
		return r, false
	}
	lead, line := indent.Find(lines[before]), lines[at]
	if len(indent.Find(line)) <= len(lead) {
		return r, false
	}
	return repair{at, string(lead) + strings.TrimLeft(string(line), " \t"),
		"it is indented deeper than the line before it, which has a value: they have to begin in the same column", true}, true
}

// noKey finds the line, this one or the one before it, that has no key where one has to be.
func noKey(lines [][]byte, at int) (r repair, is bool) {
	for _, i := range []int{at, lineBefore(lines, at)} {
		if i < 0 || insideBrackets(lines[:i]) || anEntry.Match(lines[i]) {
			continue
		}
		line := string(lines[i])
		switch text := strings.TrimSpace(line); {
		case noBlank.MatchString(line):
			now := noBlank.ReplaceAllString(line, "$1: $2")
			return repair{i, now, "a blank belongs behind the colon: " + strings.TrimSpace(now), true}, true
		case equals.MatchString(line):
			now := equals.ReplaceAllString(line, "$1: $2")
			return repair{i, now, "a key is followed by a colon, not by =: " + strings.TrimSpace(now), true}, true
		case wideColon.MatchString(line):
			now := wideColon.ReplaceAllString(line, "$1: $2")
			return repair{i, now, "an ordinary colon and a blank belong behind a key: " + strings.TrimSpace(now), true}, true
		case strings.HasPrefix(text, "//"):
			return repair{i, "\n", "// begins no comment in YAML: # does", true}, true
		default:
			return repair{i, "\n", "a colon and a blank belong behind every key", false}, true
		}
	}
	return r, false
}

// quoteBare puts what YAML cannot read between brackets in quotes: @path, ${NAME}.
func quoteBare(line string) string {
	line = bareKey.ReplaceAllString(line, `$1"$2"$3`)
	if !strings.ContainsAny(line, "{[") {
		return line
	}
	line = bareAt.ReplaceAllString(line, `$1"$2"$3`)
	line = bareEnv.ReplaceAllString(line, `$1"$2"`)
	return bareValue.ReplaceAllString(line, `$1"$2"`)
}

// needsQuotes says that a text would be read otherwise than it was meant. msg is what the parser says of it.
func needsQuotes(value, msg string) bool {
	switch value[0] {
	case '@', '`', '%':
		return true
	case '\'', '"': // a text goes on behind what looks like all of it
		end := strings.IndexByte(value[1:], value[0])
		rest := strings.TrimSpace(value[end+2:])
		return end >= 0 && rest != "" && rest[0] != '#'
	case '|', '>', '&', '*':
		return strings.Contains(msg, "did not find expected alphabetic") ||
			strings.Contains(msg, "expected comment or line break")
	case '!': // the filter language begins a negation with it, YAML a tag
		return negation.MatchString(value) && strings.Contains(msg, "did not find expected")
	case '{', '[', '#':
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
	{"<document start>", "a configuration is one table of keys and values, and this does not belong to it"},
	{"UTF-8 octet", "save the file as UTF-8"},
	{"incomplete UTF-8", "save the file as UTF-8"},
	{"control characters", "a character that nobody sees stands in it: take it out"},
	{"block sequence entries are not allowed", "a list begins on a line of its own"},
}

// checkTags adds the tags (!name) that are not YAML's own for ordinary values: nobody reads them, and what was meant
// is a text, as a rule.
func checkTags(n *yaml.Node, p *problems) {
	switch n.ShortTag() {
	case "", "!!str", "!!int", "!!float", "!!bool", "!!null", "!!map", "!!seq", "!!timestamp", "!!merge":
	default:
		p.add(n.Line, "! begins a tag in YAML, and %s is none that is known here: put the text in quotes", n.Tag)
	}
	for _, c := range n.Content {
		checkTags(c, p)
	}
}

// checkMeant adds what YAML takes without a word and nobody means: a table as a key, as {{name}} makes one, a text that
// ends where a # begins a comment; and notes quotes that are none.
func checkMeant(n *yaml.Node, p *problems) {
	for i, c := range n.Content {
		if n.Kind == yaml.MappingNode && i%2 == 0 && c.Kind != yaml.ScalarNode && c.Kind != yaml.AliasNode {
			p.add(c.Line, "a %s stands where a key has to be: "+
				"between { and } a text with brackets needs quotes, like '{{name}}'",
				strings.TrimPrefix(nodeKind(c), "a "))
			continue
		}
		checkMeant(c, p)
	}
	if n.Kind != yaml.ScalarNode || n.Style != 0 {
		return
	}
	if strings.HasPrefix(n.LineComment, "#") && strings.Count(n.Value, `"`)%2 == 1 &&
		strings.Count(n.LineComment, `"`)%2 == 1 {
		p.add(n.Line, "a blank and # begin a comment, so that the text ends before it: put it in quotes: '%s'",
			strings.ReplaceAll(n.Value+" "+n.LineComment, "'", "''"))
	}
	if first, last := firstRune(n.Value), lastRune(n.Value); strings.ContainsRune("“”„«‘‚", first) &&
		strings.ContainsRune("“”»’‘", last) {
		p.note(n.Line, "the quotes around the value are part of it: ordinary ones are \" and '")
	}
}

func firstRune(s string) rune { r, _ := utf8.DecodeRuneInString(s); return r }

func lastRune(s string) rune { r, _ := utf8.DecodeLastRuneInString(s); return r }

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
func follow(n *yaml.Node, depth int, left *int) (*yaml.Node, *Problem) {
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if *left--; *left < 0 {
		return nil, &Problem{Line: n.Line, Err: fmt.Errorf("its references make more than %d values", mostNodes)}
	}
	if depth > mostDepth {
		return nil, &Problem{Line: n.Line, Err: fmt.Errorf("it nests deeper than %d levels, or refers to itself", mostDepth)}
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

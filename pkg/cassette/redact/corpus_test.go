package redact

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io/fs"
	"maps"
	"mime/quotedprintable"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"
)

// shaped are credentials that have a recognisable shape, in addition to those in
// planted, and personal data. None is real.
var shaped = map[string]string{
	"gitlab": "glpat-" + "Zx9kQ2mVb7LpRt4WyHc1", "npm": "npm_" + "a8Kd93jfLs02mQpXz71bVcYtRw64HgEuNi5o",
	"digitalocean": "dop_v1_" + "3f786850e387550fdab836ed7e6dc881de23001b5c4f2a9e8d7c6b5a4f3e2d1c",
	"linear":       "lin_api_" + "Zx9kQ2mVb7LpRt4WyHc1Zx9kQ2mVb7LpRt4WyHc1", "postman": "PMAK-" +
		"5f3a9c2e7b1d4a6f8e0c9b7d-3f786850e387550fdab836ed7e6dc881de", "doppler": "dp.pt." +
		"Zx9kQ2mVb7LpRt4WyHc1Zx9kQ2mVb7LpRt4WyHc1abc",
	"huggingface": "hf_" + "QwErTyUiOpAsDfGhJkLzXcVbNmQwErTyUi", "rubygems": "rubygems_" +
		"3f786850e387550fdab836ed7e6dc881de23001b5c4f2a9e", "pulumi": "pul-" + "3f786850e387550fdab836ed7e6dc881de23001b",
	"sendinblue": "xkeysib-" + "3f786850e387550fdab836ed7e6dc881de23001b5c4f2a9e8d7c6b5a4f3e2d1c-Zx9kQ2mVb7LpRt4W",
	"shippo":     "shippo_live_" + "3f786850e387550fdab836ed7e6dc881de23001b", "square": "sq0atp-" +
		"Zx9kQ2mVb7LpRt4WyHc1ab",
	"openai": "sk-proj-" + "Zx9kQ2mVb7LpRt4WyHc1Zx9k", "posthog": "phx_" + "Zx9kQ2mVb7LpRt4WyHc1Zx9k",
	"notion": "ntn_" + "12345678901Zx9kQ2mVb7LpRt4WyHc1Zx9kQ2mVb7Lab3"[:11] + "Zx9kQ2mVb7LpRt4WyHc1Zx9kQ2mVb7Lab3x",
	"card":   "4929 1234 5678 9015", "iban": "DE89370400440532013000",
}

// writing is an encoding of a text, with its inverse.
type writing struct {
	name   string
	write  func(string) string
	read   func(string) string
	bodies bool // gives bytes that only a body can hold
	known  bool // only known values are found in it
}

func eachByte(s, format string) string {
	var b strings.Builder
	for i := range len(s) {
		fmt.Fprintf(&b, format, s[i])
	}
	return b.String()
}

func writings() []writing {
	list := []writing{
		{name: "plain", write: func(s string) string { return s }, read: func(s string) string { return s }},
		{name: "percent", write: url.QueryEscape, read: unquery},
		{name: "percent, lower case", write: func(s string) string { return eachByte(s, "%%%02x") }, read: unquery},
		{name: "percent twice", write: func(s string) string { return url.QueryEscape(url.QueryEscape(s)) },
			read: func(s string) string { return unquery(unquery(s)) }},
		{name: `\u`, write: func(s string) string { return eachByte(s, `\u%04x`) }, read: unescape},
		{name: `\x`, write: func(s string) string { return eachByte(s, `\x%02X`) }, read: unescape},
		{name: `\/`, write: func(s string) string { return strings.ReplaceAll(s, "/", `\/`) }, read: unescape},
		{name: "entities", write: func(s string) string { return eachByte(s, "&#%d;") }, read: unescape},
		{name: "entities, hexadecimal", write: func(s string) string { return eachByte(s, "&#x%x;") }, read: unescape},
	}
	return append(append(list, encodedWritings()...), packedWritings()...)
}

// un64 decodes base64 of any kind.
func un64(s string) string {
	flat := strings.NewReplacer("\r", "", "\n", "", "-", "+", "_", "/").Replace(s)
	data, _ := base64.RawStdEncoding.DecodeString(strings.TrimRight(flat, "="))
	return string(data)
}

// encodedWritings write each character as other characters.
func encodedWritings() []writing {
	b64 := base64.StdEncoding
	return []writing{
		{name: "base64", write: func(s string) string { return b64.EncodeToString([]byte("user:" + s)) }, read: un64},
		{name: "base64, for addresses",
			write: func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte("k=" + s + "?>~")) },
			read:  un64},
		{name: "base64 in lines", write: func(s string) string {
			text := b64.EncodeToString([]byte(strings.Repeat("a line of text before it; ", 4) + s +
				strings.Repeat("; and a line behind it", 4)))
			var b strings.Builder
			for len(text) > 76 {
				b.WriteString(text[:76] + "\r\n")
				text = text[76:]
			}
			return b.String() + text
		}, read: un64, bodies: true},
		{name: "base64 twice",
			write: func(s string) string { return b64.EncodeToString([]byte(b64.EncodeToString([]byte("user:" + s)))) },
			read:  func(s string) string { return un64(un64(s)) }},
		{name: "base64 of bytes", write: func(s string) string {
			return b64.EncodeToString([]byte("\x00\xfe\x01" + s +
				"\xff"))
		}, read: un64, known: true},
		{name: "hexadecimal", write: func(s string) string { return hex.EncodeToString([]byte(s)) }, read: unhex},
		{name: "HEXADECIMAL", write: func(s string) string { return strings.ToUpper(hex.EncodeToString([]byte(s))) },
			read: unhex},
		{name: "letter case", write: strings.ToUpper, read: strings.ToLower, known: true},
		{name: "quoted-printable", write: func(s string) string {
			var b bytes.Buffer
			w := quotedprintable.NewWriter(&b)
			_, _ = w.Write([]byte("Dear all, this is a line that is long enough to be broken: " + s + "\r\n"))
			_ = w.Close()
			return b.String()
		}, read: func(s string) string {
			var b bytes.Buffer
			_, _ = b.ReadFrom(quotedprintable.NewReader(strings.NewReader(s)))
			return b.String()
		}, bodies: true},
		{name: "UTF-16", write: func(s string) string { return toUTF16("\ufeffnote: " + s) },
			read: func(s string) string { p, _ := fromUTF16(s); return p }, bodies: true},
		{name: "UTF-16, big", write: func(s string) string {
			var b strings.Builder
			for _, u := range utf16.Encode([]rune("\ufeffnote: " + s)) {
				b.WriteString(string([]byte{byte(u >> 8), byte(u)}))
			}
			return b.String()
		}, read: func(s string) string { p, _ := fromUTF16(s); return p }, bodies: true},
	}
}

// packedWritings compress a text; some also encode it in base64.
func packedWritings() (list []writing) {
	packedIn := func(p packing) writing {
		write := func(s string) string {
			return base64.StdEncoding.EncodeToString([]byte(p.pack("note: " + s + " and so on, and so on")))
		}
		return writing{name: p.name + " in base64", write: write, read: func(s string) string {
			plain, _ := p.unpack(un64(s))
			return plain
		}}
	}
	for _, p := range packings() {
		if p.name != "UTF-16" {
			list = append(list, packedIn(p), writing{name: p.name, write: packed2(p), read: func(s string) string {
				plain,
					_ := p.unpack(s)
				return plain
			}, bodies: true})
		}
	}
	return list
}

func packed2(p packing) func(string) string {
	return func(s string) string { return p.pack("note: " + s + " and so on, and so on") }
}

func unquery(s string) string {
	plain, err := url.QueryUnescape(s)
	if err != nil {
		return s
	}
	return plain
}

func unhex(s string) string {
	data, _ := hex.DecodeString(s)
	return string(data)
}

// spot is a place in an interaction, with functions that put a text there and read it
// back.
type spot struct {
	name  string
	bytes bool // can hold any bytes
	put   func(*Interaction, string)
	get   func(*Interaction) string
}

func spots() []spot {
	member := func(s string) string {
		values, ok := valuesOf(s)
		if !ok {
			return s
		}
		text, _ := values[0].(map[string]any)["note"].(string)
		return text
	}
	return []spot{
		{"a member", false, func(i *Interaction, s string) { i.Request.Body = `{"note":` + quoted(s) + `}` },
			func(i *Interaction) string { return member(i.Request.Body) }},
		{"an answer", true, func(i *Interaction, s string) {
			i.Response.Headers.Set("Content-Type", "application/octet-stream")
			i.Response.Body = s
		}, func(i *Interaction) string { return i.Response.Body }},
		{"a parameter", false, func(i *Interaction, s string) {
			i.Request.URL = "https://api.shop.example/v1?note=" + url.QueryEscape(s)
		}, func(i *Interaction) string {
			_, v, _ := strings.Cut(i.Request.URL, "note=")
			return unquery(v)
		}},
		{"a header", false, func(i *Interaction, s string) { i.Response.Headers.Set("X-Note", s) },
			func(i *Interaction) string { return i.Response.Headers.Get("X-Note") }},
	}
}

// TestCorpus puts every secret in every encoding in every place, more than two thousand
// combinations. None may survive, however it is decoded, and the gate has to refuse
// each.
func TestCorpus(t *testing.T) {
	secrets := maps.Clone(shaped)
	maps.Copy(secrets, planted)
	own := planted["the run's own"]
	red := redactor([]byte("a key of some length"), []Secret{{Name: "RUN_SECRET", Value: own}})
	plants, survivors := 0, 0
	for kind, s := range secrets {
		for _, e := range writings() {
			if e.known && s != own || strings.Contains(s, "\n") && (e.name == `\/` || e.name == "quoted-printable") {
				continue
			}
			for _, at := range spots() {
				if e.bodies && !at.bytes || at.name == "a header" && strings.Contains(e.write(s), "\n") {
					continue
				}
				plants++
				i := ordinary()
				at.put(i, e.write(s))
				if leaks := red.Scan(0, i); len(leaks) == 0 {
					t.Errorf("%s, %s, in %s passes the gate", kind, e.name, at.name)
				}
				red.Interaction(i)
				left := at.get(i)
				gone := needle(kind, s)
				if e.name == "letter case" {
					gone = strings.ToLower(gone)
				}
				if strings.Contains(left, gone) || strings.Contains(e.read(left), gone) {
					survivors++
					t.Errorf("%s, %s, in %s survives: %q", kind, e.name, at.name, left)
				}
				if leaks := red.Scan(0, i); len(leaks) > 0 {
					t.Errorf("%s, %s, in %s, redacted: %v", kind, e.name, at.name, leaks)
				}
			}
		}
	}
	t.Logf("%d plants, %d survivors", plants, survivors)
	if plants < 2000 {
		t.Errorf("only %d plants", plants)
	}
}

// realFiles are up to n text files from Go's own tree, because that is the same on
// every machine.
func realFiles(t *testing.T, n int) []string {
	t.Helper()
	out, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Skipf("skipped: there is no go command to ask for its tree: %v", err)
	}
	kinds := []string{".go", ".md", ".txt", ".html", ".json", ".xml", ".s", ".js", ".c", ".h", ".py", ".pl", ".sh",
		".css", ".yaml", ".yml", ".conf", ".pm", ".rst", ".mod", ".csv"}
	collect := func(dirs ...string) (all []string) {
		for _, dir := range dirs {
			_ = filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
				if err != nil {
					return nil //nolint // skips unreadable files
				}
				if d.IsDir() {
					return nil
				}
				if info, err := d.Info(); err == nil && d.Type().IsRegular() && slices.Contains(kinds, filepath.Ext(p)) &&
					info.Size() > 200 && info.Size() < 48<<10 {
					all = append(all, p)
				}
				return nil
			})
		}
		return all
	}
	spread := func(all []string, n int) (some []string) {
		for i := 0; i < len(all) && len(some) < n; i += max(1, len(all)/n) {
			some = append(some, all[i])
		}
		return some
	}
	root := strings.TrimSpace(string(out))
	return spread(collect(filepath.Join(root, "src"), filepath.Join(root, "test"), filepath.Join(root, "lib"),
		filepath.Join(root, "doc"), filepath.Join(root, "api")), n)
}

// realAddress matches email addresses, independently of the redactor's own pattern.
var (
	realPhone   = regexp.MustCompile(`^\+?[0-9][0-9 ().-]{8,}$`)
	realAddress = regexp.MustCompile(`^[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,}$`)
)

// TestRealFiles checks that in 600 text files only personal addresses and numbers,
// private keys, and values that are called a password or key are changed.
func TestRealFiles(t *testing.T) {
	files := realFiles(t, 600)
	if testing.Short() {
		files = files[:min(len(files), 60)]
	}
	red := redactor([]byte("a key of some length"), nil)
	wrong, changed := 0, 0
	for _, path := range files {
		data, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		text := string(data)
		if red.Text(text) == text {
			continue
		}
		changed++
		eachView(text, func(v view, _ int) (string, bool) {
			for _, m := range red.matches(v.text) {
				value := v.text[m.from:m.to]
				if stays(m.kind, value) || m.kind == "email" && realAddress.MatchString(value) ||
					m.kind == "phone" && realPhone.MatchString(value) || m.kind == "pem" || m.exact ||
					len(value) >= 16 && entropy(value) > 3.5 && HasDigit(value) && strings.ToLower(value) != value {
					continue
				}
				wrong++
				t.Errorf("%s: %s %q", path, m.kind, v.text[max(0, m.from-30):min(len(v.text), m.to+10)])
			}
			return text, true
		})
	}
	t.Logf("%d files, %d with addresses of people or keys, %d changed wrongly", len(files), changed, wrong)
	if len(files) < 600 && !testing.Short() {
		t.Logf("only %d files are on this machine", len(files))
	}
}

package source

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// parseListing parses a page of ListObjectsV2. A year of keys is thousands of pages, and encoding/xml and the
// SDK's decoder take about ten times as long as searching for the tags. So that is tried first. It gives up on any
// form that servers are not known to write, and on a page whose count does not match; then encoding/xml is used.
func parseListing(b []byte) (*ListPage, error) {
	page := &listingPage{}
	if !page.scan(b) {
		page = &listingPage{}
		if err := xml.Unmarshal(b, page); err != nil {
			return nil, fmt.Errorf("%w: the listing is cut off, or none: %w", io.ErrUnexpectedEOF, err)
		}
	}
	return page.page()
}

// listingPage is a page in the form of the protocol.
type listingPage struct {
	XMLName      xml.Name `xml:"ListBucketResult"`
	Contents     []listedKey
	Prefixes     []listedPrefix `xml:"CommonPrefixes"`
	IsTruncated  string
	Next         string `xml:"NextContinuationToken"`
	EncodingType string
	KeyCount     string
}

type listedKey struct {
	Key, Size, ETag, LastModified, StorageClass string
}

type listedPrefix struct{ Prefix string }

// page converts the page.
func (p *listingPage) page() (*ListPage, error) {
	out := &ListPage{Keys: make([]Key, 0, len(p.Contents))}
	if strings.TrimSpace(p.IsTruncated) == "true" {
		if out.Next = p.Next; out.Next == "" {
			return nil, errors.New("the listing goes on, but does not say where")
		}
	}
	name := func(text string) (string, error) {
		if strings.TrimSpace(p.EncodingType) != "url" || !strings.ContainsAny(text, "%+") {
			return text, nil
		}
		plain, err := url.QueryUnescape(text)
		if err != nil {
			return "", fmt.Errorf("the listing has a malformed key %q: %w", text, err)
		}
		return plain, nil
	}
	var err error
	for _, c := range p.Contents {
		k := Key{ETag: strings.Trim(c.ETag, `"`), Modified: modified(c.LastModified), StorageClass: c.StorageClass}
		if k.Name, err = name(c.Key); err != nil {
			return nil, err
		}
		if k.Size, err = strconv.ParseInt(strings.TrimSpace(c.Size), 10, 64); err != nil || k.Name == "" {
			return nil, fmt.Errorf("the listing has an object without a name or a size: %q", c.Key)
		}
		out.Keys = append(out.Keys, k)
	}
	for _, c := range p.Prefixes {
		prefix, err := name(c.Prefix)
		if err != nil {
			return nil, err
		}
		out.Prefixes = append(out.Prefixes, prefix)
	}
	return out, nil
}

// scan parses a page by its tags alone. It returns false if the page might mean something else.
func (p *listingPage) scan(b []byte) bool {
	if b = bytes.TrimSpace(b); bytes.HasPrefix(b, []byte("<?xml ")) {
		n := bytes.Index(b, []byte("?>"))
		if n < 0 {
			return false
		}
		b = bytes.TrimSpace(b[n+2:])
	}
	// The root may have a namespace; no other element has attributes.
	if !bytes.HasPrefix(b, []byte("<ListBucketResult")) || !bytes.HasSuffix(b, []byte("</ListBucketResult>")) {
		return false
	}
	b = b[:len(b)-len("</ListBucketResult>")]
	n := bytes.IndexByte(b, '>')
	if n < 0 || b[n-1] == '/' {
		return false
	}
	b = b[n+1:]
	plain := eachMember(b, p.member, func(name, inner []byte) bool {
		switch string(name) {
		case "Contents":
			p.Contents = append(p.Contents, listedKey{})
			return eachMember(inner, p.Contents[len(p.Contents)-1].member, nil)
		case "CommonPrefixes":
			p.Prefixes = append(p.Prefixes, listedPrefix{})
			return eachMember(inner, p.Prefixes[len(p.Prefixes)-1].member, nil)
		}
		return true
	})
	return plain && (p.KeyCount == "" || p.KeyCount == strconv.Itoa(len(p.Contents)+len(p.Prefixes)))
}

func (p *listingPage) member(name []byte) *string {
	switch string(name) {
	case "IsTruncated":
		return &p.IsTruncated
	case "NextContinuationToken":
		return &p.Next
	case "EncodingType":
		return &p.EncodingType
	case "KeyCount":
		return &p.KeyCount
	}
	return nil
}

func (k *listedKey) member(name []byte) *string {
	switch string(name) {
	case "Key":
		return &k.Key
	case "Size":
		return &k.Size
	case "ETag":
		return &k.ETag
	case "LastModified":
		return &k.LastModified
	case "StorageClass":
		return &k.StorageClass
	}
	return nil
}

func (k *listedPrefix) member(name []byte) *string {
	if string(name) == "Prefix" {
		return &k.Prefix
	}
	return nil
}

// eachMember goes through an element's members in one pass. The wanted ones are texts; each is called with the
// content of the others. It returns false if a member is not written as <name>...</name>, or a wanted one occurs
// twice.
func eachMember(b []byte, wanted func(name []byte) *string, each func(name, inner []byte) bool) bool {
	for {
		b = bytes.TrimLeft(b, " \t\r\n")
		if len(b) == 0 {
			return true
		}
		n := bytes.IndexByte(b, '>')
		if b[0] != '<' || n < 2 {
			return false
		}
		name := b[1:n]
		empty := name[len(name)-1] == '/'
		if empty {
			name = name[:len(name)-1]
		}
		for _, c := range name {
			if c|0x20 < 'a' || c|0x20 > 'z' {
				return false // an attribute, a namespace, a comment
			}
		}
		b = b[n+1:]
		var inner []byte
		if !empty {
			end := closing(b, name)
			if end < 0 {
				return false
			}
			inner, b = b[:end], b[end+len(name)+3:]
		}
		if into := wanted(name); into != nil {
			if *into != "" || !plainText(inner, into) {
				return false
			}
		} else if bytes.Contains(inner, []byte("<!")) || each != nil && !each(name, inner) {
			return false
		}
	}
}

// closing finds the end of an element that contains no element of the same name.
func closing(b, name []byte) int {
	for at := 0; ; {
		j := bytes.Index(b[at:], []byte("</"))
		if j < 0 {
			return -1
		}
		at += j
		rest := b[at+2:]
		if bytes.HasPrefix(rest, name) && len(rest) > len(name) && rest[len(name)] == '>' {
			return at
		}
		at += 2
	}
}

// plainText reads the text of an element that contains nothing else.
func plainText(b []byte, into *string) bool {
	if bytes.IndexByte(b, '<') >= 0 || bytes.IndexByte(b, '\r') >= 0 {
		return false
	}
	if bytes.IndexByte(b, '&') < 0 {
		*into = string(b)
		return true
	}
	plain := make([]byte, 0, len(b))
	for len(b) > 0 {
		n := bytes.IndexByte(b, '&')
		if n < 0 {
			n = len(b)
		}
		plain, b = append(plain, b[:n]...), b[n:]
		if len(b) == 0 {
			break
		}
		c, ok := byte(0), false
		for _, e := range entities {
			if bytes.HasPrefix(b, []byte(e.written)) {
				c, ok, b = e.means, true, b[len(e.written):]
				break
			}
		}
		if !ok {
			return false
		}
		plain = append(plain, c)
	}
	*into = string(plain)
	return true
}

// entities are the escapes that servers use in keys and etags.
var entities = [...]struct {
	written string
	means   byte
}{{"&quot;", '"'}, {"&#34;", '"'}, {"&amp;", '&'}, {"&lt;", '<'}, {"&gt;", '>'}, {"&apos;", '\''}, {"&#39;", '\''}}

// modified parses a time like 2025-06-01T00:00:00.000Z quickly. It is used only in messages, and there are
// millions of them.
func modified(text string) time.Time {
	digits := func(from, to int) (n int) {
		for _, c := range []byte(text[from:to]) {
			n = n*10 + int(c-'0')
		}
		return n
	}
	if len(text) != 24 || text[10] != 'T' || text[23] != 'Z' {
		t, _ := time.Parse(time.RFC3339, text) // the zero time means that it is not known
		return t
	}
	return time.Date(digits(0, 4), time.Month(digits(5, 7)), digits(8, 10),
		digits(11, 13), digits(14, 16), digits(17, 19), digits(20, 23)*1e6, time.UTC)
}

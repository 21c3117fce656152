package source

import (
	"encoding/xml"
	"fmt"
	"strings"
	"testing"
)

// pageOf is how a listing reads: the names, and in front whether the quick way
// was enough.
func pageOf(text string) string {
	quick := (&listingPage{}).scan([]byte(text))
	page, err := parseListing([]byte(text))
	if err != nil {
		return "error"
	}
	out := map[bool]string{true: "quick:", false: "slow:"}[quick]
	for _, k := range page.Keys {
		out += fmt.Sprintf(" %s=%d", k.Name, k.Size)
	}
	for _, p := range page.Prefixes {
		out += " " + p
	}
	return out
}

// TestListings: a page that is written in another way than usual is read by
// encoding/xml, and none is read short.
func TestListings(t *testing.T) {
	key := "<Contents><Key>a</Key><Size>1</Size><Owner><ID>x</ID></Owner></Contents>"
	for text, want := range map[string]string{
		"<ListBucketResult>" + key +
			"</ListBucketResult>": "quick: a=1",
		"<?xml version=\"1.0\"?>\n<ListBucketResult xmlns=\"x\">\n<KeyCount>1</KeyCount>" + key +
			"</ListBucketResult>\n": "quick: a=1",
		"<ListBucketResult><KeyCount>2</KeyCount>" + key +
			"</ListBucketResult>": "slow: a=1",
		`<ListBucketResult><Contents owner="x"><Key>a</Key><Size>1</Size></Contents></ListBucketResult>`:            "slow: a=1",
		`<ListBucketResult><Contents><Key xml:space="preserve">a</Key><Size>1</Size></Contents></ListBucketResult>`: "slow: a=1",
		"<ListBucketResult><!-- <Contents></Contents> -->" + key +
			"</ListBucketResult>": "slow: a=1",
		`<ListBucketResult><Contents><Key><![CDATA[a<b]]></Key><Size>1</Size></Contents></ListBucketResult>`:               "slow: a<b=1",
		`<s:ListBucketResult xmlns:s="x"><s:Contents><s:Key>a</s:Key><s:Size>1</s:Size></s:Contents></s:ListBucketResult>`: "slow: a=1",
		`<ListBucketResult><Contents><Key>a&#x41;&amp;lt;</Key><Size>1</Size></Contents></ListBucketResult>`:               "slow: aA&lt;=1",
		`<ListBucketResult><Contents><Key>a&amp;lt;</Key><Size>1</Size></Contents></ListBucketResult>`:                     "quick: a&lt;=1",
		"<ListBucketResult><CommonPrefixes><Prefix>p/</Prefix></CommonPrefixes><Prefix/>" + key +
			"</ListBucketResult>": "quick: a=1 p/",
		`<ListBucketResult><EncodingType>url</EncodingType><Contents><Key>a%2b</Key><Size>1</Size></Contents></ListBucketResult>`: "quick: a+=1",
		"<ListBucketResult>" + key +
			"<Contents><Key>b</Key></Contents></ListBucketResult>": "error",
		"<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>": "error",
		"<ListBucketResult>" + key: "error",
		"<html></html>":            "error",
		"":                         "error",
	} {
		if got := pageOf(text); got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
}

// FuzzListing: whatever the quick way reads, encoding/xml reads as well.
func FuzzListing(f *testing.F) {
	key := "<Contents><Key>a&amp;b</Key><Size>1</Size><ETag>&quot;e&#34;</ETag><Owner><ID>x</ID></Owner></Contents>"
	f.Add("<ListBucketResult xmlns=\"x\"><KeyCount>2</KeyCount>" + key +
		"<CommonPrefixes><Prefix>p</Prefix></CommonPrefixes></ListBucketResult>")
	f.Add("<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>n</NextContinuationToken>" +
		strings.Repeat(key, 3) + "</ListBucketResult>")
	f.Fuzz(func(t *testing.T, text string) {
		quick, slow := &listingPage{}, &listingPage{}
		if !quick.scan([]byte(text)) {
			return
		}
		if err := xml.Unmarshal([]byte(text), slow); err != nil {
			t.Skip() // the quick way does not look for what is not well-formed elsewhere
		}
		quick.XMLName, slow.XMLName = xml.Name{}, xml.Name{}
		if fmt.Sprintf("%q", *quick) != fmt.Sprintf("%q", *slow) {
			t.Errorf("%q\nquick %+v\nslow  %+v", text, quick, slow)
		}
	})
}

// BenchmarkListing reads a page of a thousand keys in both ways.
func BenchmarkListing(b *testing.B) {
	var text strings.Builder
	text.WriteString(`<?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><KeyCount>1000</KeyCount>`)
	for i := range 1000 {
		fmt.Fprintf(&text, "<Contents><Key>segment-logs/x/1767225600000/%06d.gz</Key>"+
			"<LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>&quot;%032x&quot;</ETag>"+
			"<Size>%d</Size><StorageClass>STANDARD</StorageClass></Contents>", i, i, i)
	}
	text.WriteString("</ListBucketResult>")
	page := []byte(text.String())
	b.Run("quick", func(b *testing.B) {
		for b.Loop() {
			if p := (&listingPage{}); !p.scan(page) || len(p.Contents) != 1000 {
				b.Fatal("not read")
			}
		}
	})
	b.Run("xml", func(b *testing.B) {
		for b.Loop() {
			if err := xml.Unmarshal(page, &listingPage{}); err != nil {
				b.Fatal(err)
			}
		}
	})
}

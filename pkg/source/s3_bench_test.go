package source_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/fanfold/fanfold/pkg/source"
)

// yearOfKeys answers listings of 365 days of 10,000 objects each, in the layout
// of segment-logs.
func yearOfKeys(w http.ResponseWriter, r *http.Request) {
	const days, perDay, pageSize, firstDay, dayMillis = 365, 10_000, 1000, 1735689600000, 86_400_000
	from := 0
	if token := r.URL.Query().Get("continuation-token"); token != "" {
		from, _ = strconv.Atoi(token)
	}
	to := min(from+pageSize, days*perDay)
	b := make([]byte, 0, 400*pageSize)
	b = append(b, `<?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>my</Name>`...)
	if to < days*perDay {
		b = append(b, "<IsTruncated>true</IsTruncated><NextContinuationToken>"+strconv.Itoa(to)+"</NextContinuationToken>"...)
	} else {
		b = append(b, "<IsTruncated>false</IsTruncated>"...)
	}
	b = append(b, "<EncodingType>url</EncodingType>"...)
	const hexDigits = "0123456789abcdef"
	hex := func(v uint64, n int) {
		for k := range n {
			b = append(b, hexDigits[v>>(4*(k%16))&15])
		}
	}
	for i := from; i < to; i++ {
		random := uint64(i+1) * 0x9e3779b97f4a7c15
		b = append(b, "<Contents><Key>segment-logs/VhBYQcAjH5/"...)
		b = strconv.AppendInt(b, firstDay+int64(i/perDay)*dayMillis, 10)
		b = append(b, '/')
		b = strconv.AppendInt(b, int64(100_000+i%perDay), 10)
		b = append(b, '.')
		hex(random, 16)
		b = append(b, ".gz</Key><LastModified>2025-06-01T00:00:00.000Z</LastModified><ETag>&quot;"...)
		hex(random^0xabcdef, 16)
		hex(random*31, 16)
		b = append(b, "&quot;</ETag><Size>"...)
		b = strconv.AppendInt(b, 1000+int64(i%5000), 10)
		b = append(b, "</Size><StorageClass>STANDARD</StorageClass></Contents>"...)
	}
	b = append(b, "</ListBucketResult>"...)
	w.Header().Set("Content-Type", "application/xml")
	w.Write(b)
}

// BenchmarkYearOfKeys lists and plans a year of keys: 3.65 million objects in
// 3,650 pages. The server that writes the pages is in the measured time.
func BenchmarkYearOfKeys(b *testing.B) {
	srv := httptest.NewServer(http.HandlerFunc(yearOfKeys))
	defer srv.Close()
	o := source.Options{From: []string{"s3://my-archive/segment-logs/"},
		Schemes: source.Schemes{source.S3(&source.S3Options{Endpoint: srv.URL, Region: "us-east-1", PathStyle: true,
			Anonymous: true})}}
	for b.Loop() {
		s, err := source.Open(context.Background(), o)
		if err != nil {
			b.Fatal(err)
		}
		if err := s.Manifest().Wait(context.Background()); err != nil {
			b.Fatal(err)
		}
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		b.ReportMetric(float64(m.HeapAlloc)/(1<<20), "heap-MiB")
		b.ReportMetric(float64(m.Sys)/(1<<20), "sys-MiB")
		if n := s.Manifest().Len(); n != 3_650_000 {
			b.Fatal(n)
		}
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

// TestListingOverHTTP reads pages as servers write them.
func TestListingOverHTTP(t *testing.T) {
	pages := map[string]string{
		"":    `<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>a&amp;b</NextContinuationToken><EncodingType>url</EncodingType><Contents><Key>x/a%2Bb+c%26.gz</Key><Size>3</Size><ETag>"e1"</ETag></Contents><CommonPrefixes><Prefix>x/y/</Prefix></CommonPrefixes></ListBucketResult>`,
		"a&b": `<ListBucketResult><Contents><Key>x/&lt;b&gt;+%41</Key><Size>4</Size><ETag>&#34;e2&#34;</ETag><LastModified>2026-01-01T00:00:00Z</LastModified></Contents><IsTruncated>false</IsTruncated></ListBucketResult>`,
	}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Write([]byte(pages[r.URL.Query().Get("continuation-token")]))
	}))
	defer srv.Close()
	st, err := source.NewStore(context.Background(),
		source.S3Options{Endpoint: srv.URL, Region: "eu-west-1", PathStyle: true, Anonymous: true})
	if err != nil {
		t.Fatal(err)
	}
	page, err := st.List(context.Background(), source.ListRequest{Bucket: "my-archive", Prefix: "x/", Delimiter: "/"})
	if err != nil {
		t.Fatal(err)
	}
	if len(page.Keys) != 1 || page.Keys[0].Name != "x/a+b c&.gz" || page.Keys[0].ETag != "e1" || len(page.Prefixes) != 1 ||
		page.Prefixes[0] != "x/y/" || page.Next != "a&b" {
		t.Errorf("first page: %+v", page)
	}
	page, err = st.List(context.Background(), source.ListRequest{Bucket: "my-archive", Prefix: "x/", Token: page.Next})
	if err != nil {
		t.Fatal(err)
	}
	if len(page.Keys) != 1 || page.Keys[0].Name != "x/<b>+%41" || page.Keys[0].ETag != "e2" || page.Keys[0].Size != 4 ||
		page.Next != "" {
		t.Errorf("last page: %+v", page)
	}
	if strings.Contains(page.Keys[0].ETag, `"`) {
		t.Error("the etag kept its quotes")
	}
}

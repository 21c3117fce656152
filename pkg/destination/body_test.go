package destination

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"
)

// frame makes a request body of items, some of which lie next to each other as they stand in the body; they are long
// enough for it not to be copied.
func frame(t *testing.T, n int) (*http.Request, []*Delivery, string) {
	t.Helper()
	b := &content{open: []byte("{[["), sep: []byte(","), close: []byte("]]}")}
	var texts []string
	var list Deliveries
	for i := range n {
		text := strings.Repeat(string(rune('a'+i%26)), 40000/n+i)
		texts = append(texts, text)
		switch i % 5 {
		case 1: // alone
			b.items = append(b.items, &Delivery{Item: []byte(text)})
			continue
		case 3: // after one of another request
			list.emit(Delivery{}, append(list.arena, "????"...), 4, 0)
		}
		list.emit(Delivery{}, append(list.arena, text...), len(text), 0)
		b.items = append(b.items, &Delivery{Item: list.List[len(list.List)-1].Item})
	}
	items := b.items
	req, err := b.request(context.Background(), "POST", "http://127.0.0.1/", "application/json", nil)
	if err != nil {
		t.Fatal(err)
	}
	return req, items, "{[[" + strings.Join(texts, ",") + "]]}"
}

type answers func(req *http.Request) (*http.Response, error)

func (f answers) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// TestBody: what is read of a body, in whatever steps, at once or a second time,
// is the items and what stands around them.
func TestBody(t *testing.T) {
	for _, n := range []int{1, 2, 3, 500} {
		req, _, want := frame(t, n)
		if req.ContentLength != int64(len(want)) {
			t.Fatalf("%d items: a length of %d for %d bytes", n, req.ContentLength, len(want))
		}
		again, err := req.GetBody()
		if err != nil {
			t.Fatal(err)
		}
		if err := iotest.TestReader(again, []byte(want)); err != nil {
			t.Errorf("%d items: %v", n, err)
		}
		if err := iotest.TestReader(req.Body, []byte(want)); err != nil {
			t.Errorf("%d items: %v", n, err)
		}
		for _, read := range []int{0, 3, 4, len(want) / 2, len(want) - 1, len(want)} {
			req, _, want = frame(t, n)
			b := req.Body.(*content)
			var out bytes.Buffer
			if k, err := io.CopyN(&out, struct{ io.Reader }{b}, int64(read)); err != nil || b.Len() != len(want)-read {
				t.Errorf("%d items: %d bytes of %d are left after %d (%v)", n, b.Len(), len(want), k, err)
			}
			if k, err := b.WriteTo(&out); int(k) != len(want)-read || err != nil || out.String() != want || b.Len() != 0 {
				t.Errorf("%d items: %d bytes were written after %d of %d: %v", n, k, read, len(want), err)
			}
		}
		req, _, want = frame(t, n)
		if data, ok := RequestBytes(req); !ok || string(data) != want {
			t.Errorf("%d items: %d bytes at once, want %d", n, len(data), len(want))
		}
		if data, err := io.ReadAll(req.Body); err != nil || string(data) != want {
			t.Errorf("%d items: %d bytes after that, want %d (%v)", n, len(data), len(want), err)
		}
	}
}

// TestBodyEnds: once a request is answered, or has failed, nothing reads the
// items any more, though the transport may still hold the body.
func TestBodyEnds(t *testing.T) {
	for _, fails := range []bool{false, true} {
		req, items, _ := frame(t, 10)
		var readers []io.Reader
		_, err := Do(answers(func(req *http.Request) (*http.Response, error) {
			again, err := req.GetBody()
			if err != nil {
				t.Fatal(err)
			}
			third, err := req.GetBody()
			if err != nil {
				t.Fatal(err)
			}
			readers = []io.Reader{req.Body, again, third}
			for _, r := range readers {
				if n, err := r.Read(make([]byte, 100)); n != 100 || err != nil {
					t.Errorf("%d bytes before the answer: %v", n, err)
				}
			}
			if fails {
				return nil, errors.New("cut")
			}
			return &http.Response{StatusCode: 200, Body: io.NopCloser(bytes.NewReader(nil))}, nil
		}), req)
		if fails != (err != nil) {
			t.Fatal(err)
		}
		for _, d := range items {
			d.Item = nil
		}
		for i, r := range readers {
			if n, err := r.Read(make([]byte, 100)); n > 0 || err == nil || err == io.EOF {
				t.Errorf("reader %d reads %d bytes after the end: %v", i, n, err)
			}
			if n, err := r.(io.WriterTo).WriteTo(io.Discard); n > 0 || err == nil {
				t.Errorf("reader %d writes %d bytes after the end: %v", i, n, err)
			}
		}
	}
}

// TestBodyThatIsHeld: the memory of a body that a transport has begun to read, or
// has not given back, is not used for another one.
func TestBodyThatIsHeld(t *testing.T) {
	for _, reads := range []bool{false, true} {
		req, _, want := frame(t, 10)
		var held []byte
		if _, err := Do(answers(func(req *http.Request) (*http.Response, error) {
			held, _ = RequestBytes(req)
			if reads {
				if _, err := req.Body.Read(make([]byte, 10)); err != nil {
					t.Error(err)
				}
				req.Body.Close()
			}
			return &http.Response{StatusCode: 200, Body: io.NopCloser(bytes.NewReader(nil))}, nil
		}), req); err != nil {
			t.Fatal(err)
		}
		for range 100 { // the pool of a build with the race detector forgets at random
			b := &content{items: []*Delivery{{Item: []byte("#####")}}}
			b.Bytes()
		}
		if string(held) != want {
			t.Errorf("another request was written over a body (read: %v)", reads)
		}
	}
}

// TestBodyOfCaller: bytes that a destination has made itself stay its own.
func TestBodyOfCaller(t *testing.T) {
	data := bytes.Repeat([]byte("x"), 2*smallBody)
	req, err := NewRequest(context.Background(), "POST", "http://127.0.0.1/", "text/plain", data)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Do(answers(func(req *http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: 200, Body: io.NopCloser(bytes.NewReader(nil))}, req.Body.Close()
	}), req); err != nil {
		t.Fatal(err)
	}
	for range 100 { // the pool of a build with the race detector forgets at random
		b := &content{items: []*Delivery{{Item: []byte("yyyy")}}}
		b.Bytes()
	}
	if bytes.ContainsRune(data, 'y') {
		t.Error("another request was written over them")
	}
}

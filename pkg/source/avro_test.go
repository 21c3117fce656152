package source

import (
	"bufio"
	"bytes"
	"compress/flate"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"

	"github.com/fanfold/fanfold/pkg/event"
)

// avroText and the others write values as an Avro file has them.
func avroLong(n int64) []byte    { return binary.AppendVarint(nil, n) }
func avroText(s string) []byte   { return append(avroLong(int64(len(s))), s...) }
func joined(p ...[]byte) []byte  { return bytes.Join(p, nil) }
func avroFloat(f float32) []byte { return binary.LittleEndian.AppendUint32(nil, math.Float32bits(f)) }
func avroDouble(f float64) []byte {
	return binary.LittleEndian.AppendUint64(nil, math.Float64bits(f))
}

const avroSync = "0123456789abcdef"

// avroFile is a file with blocks of records.
func avroFile(t testing.TB, codec, schema string, blocks ...[][]byte) []byte {
	t.Helper()
	out := joined([]byte("Obj\x01"), avroLong(2), avroText("avro.schema"), avroText(schema), avroText("avro.codec"),
		avroText(codec), avroLong(0), []byte(avroSync))
	for _, records := range blocks {
		packed := packAvro(t, codec, bytes.Join(records, nil))
		out = append(out, joined(avroLong(int64(len(records))), avroLong(int64(len(packed))), packed, []byte(avroSync))...)
	}
	return out
}

func packAvro(t testing.TB, codec string, plain []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	var w io.WriteCloser
	var err error
	switch codec {
	case "deflate":
		w, err = flate.NewWriter(&b, 5)
	case "zstandard":
		w, err = zstd.NewWriter(&b)
	case "xz":
		w, err = xz.NewWriter(&b)
	case "snappy":
		return binary.BigEndian.AppendUint32(s2.EncodeSnappy(nil, plain), crc32.ChecksumIEEE(plain))
	default:
		return plain
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err = w.Write(plain); err != nil {
		t.Fatal(err)
	}
	if err = w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// readAvro is what a file is read as, and how that ended.
func readAvro(data []byte) (string, error) {
	r, _, err := decompress(bufio.NewReader(bytes.NewReader(data)))
	if err != nil {
		return "", err
	}
	out, err := io.ReadAll(r)
	return string(out), err
}

// TestAvroValues reads every type of the specification, digit by digit.
func TestAvroValues(t *testing.T) {
	at := time.Date(2024, 3, 10, 2, 30, 0, 123456789, time.UTC)
	none, some := avroLong(0), avroLong(1)
	var schema, want []string
	var record []byte
	for _, f := range []struct {
		name, typ string
		data      []byte
		want      string
	}{
		{"event", `"string"`, avroText("Ünï \"q\"\n"), `"Ünï \"q\"\n"`},
		{"long", `"long"`, avroLong(math.MaxInt64), "9223372036854775807"},
		{"int", `"int"`, avroLong(-5), "-5"},
		{"yes", `"boolean"`, []byte{1}, "true"},
		{"single", `"float"`, avroFloat(0.1), "0.1"},
		{"double", `"double"`, avroDouble(1e300), "1e+300"},
		{"nan", `"double"`, avroDouble(math.NaN()), "null"},
		{"nothing", `"null"`, nil, "null"},
		{"absent", `["null","string"]`, none, "null"},
		{"there", `["null","string"]`, joined(some, avroText("x")), `"x"`},
		{"text", `"bytes"`, avroText(`{"a":1}`), `"{\"a\":1}"`},
		{"raw", `"bytes"`, avroText("\xff\x00"), `"/wA="`},
		{"money", `{"type":"bytes","logicalType":"decimal","precision":9,"scale":2}`, avroText("\xfb\x4b"), "-12.05"},
		{"cents", `{"type":"fixed","name":"cents","size":2,"logicalType":"decimal","scale":3}`, []byte{0, 5}, "0.005"},
		{"day", `{"type":"int","logicalType":"date"}`, avroLong(19792), `"2024-03-10"`},
		{"millis", `{"type":"long","logicalType":"timestamp-millis"}`, avroLong(at.UnixMilli()),
			`"2024-03-10T02:30:00.123Z"`},
		{"micros", `["null",{"type":"long","logicalType":"timestamp-micros"}]`, joined(some, avroLong(at.UnixMicro())),
			`"2024-03-10T02:30:00.123456Z"`},
		{"nanos", `{"type":"long","logicalType":"local-timestamp-nanos"}`, avroLong(at.UnixNano()),
			`"2024-03-10T02:30:00.123456789Z"`},
		{"never", `{"type":"long","logicalType":"timestamp-millis"}`, avroLong(math.MaxInt64), "9223372036854775807"},
		{"clock", `{"type":"int","logicalType":"time-millis"}`, avroLong(9000123), `"02:30:00.123"`},
		{"uuid", `{"type":"fixed","name":"u","size":16,"logicalType":"uuid"}`, []byte("0123456789abcdef"),
			`"30313233-3435-3637-3839-616263646566"`},
		{"suit", `{"type":"enum","name":"suit","symbols":["A","B"]}`, avroLong(1), `"B"`},
		{"again", `"suit"`, avroLong(0), `"A"`},
		{"list", `{"type":"array","items":"long"}`,
			joined(avroLong(-2), avroLong(2), avroLong(1), avroLong(2), avroLong(1), avroLong(3), none), "[1,2,3]"},
		{"map", `{"type":"map","values":["null","long"]}`,
			joined(avroLong(2), avroText("k"), some, avroLong(1), avroText("n"), none, none), `{"k":1,"n":null}`},
		{"tree", `{"type":"record","name":"Tree","fields":[{"name":"v","type":"long"},{"name":"of","type":{"type":"array",` +
			`"items":"Tree"}}]}`,
			joined(avroLong(1), avroLong(1), avroLong(2), none, none), `{"v":1,"of":[{"v":2,"of":[]}]}`},
		{"odd", `{"type":{"type":"long","logicalType":"of tomorrow"}}`, avroLong(7), "7"},
	} {
		schema = append(schema, `{"name":"`+f.name+`","type":`+f.typ+`}`)
		record = append(record, f.data...)
		want = append(want, `"`+f.name+`":`+f.want)
	}
	line := "{" + strings.Join(want, ",") + "}\n"
	whole := `{"type":"record","name":"All","namespace":"a.b","fields":[` + strings.Join(schema, ",") + `]}`
	for _, codec := range []string{"null", "deflate", "snappy", "zstandard", "xz"} {
		data := avroFile(t, codec, whole, [][]byte{record, record}, nil, [][]byte{record})
		if got, err := readAvro(data); err != nil || got != line+line+line {
			t.Errorf("%s: %v\n%s\nwant\n%s", codec, err, got, line)
		}
		for cut := 4; cut < len(data); cut += 31 { // what came before a break is read, and it is said
			got, err := readAvro(data[:cut])
			if !strings.HasPrefix(line+line+line, got) || err == nil && len(got) == 3*len(line) {
				t.Errorf("%s: %d of %d bytes: %v, %q", codec, cut, len(data), err, got)
			}
		}
	}
	named := avroFile(t, "null", `{"type":"record","name":"Seen","namespace":"shop","fields":[{"name":"n","type":"long"}]}`,
		[][]byte{avroLong(1)})
	empty := avroFile(t, "null", `{"type":"record","name":"Seen","fields":[]}`, [][]byte{nil})
	for _, c := range []struct {
		data []byte
		want string
	}{{named, `{"n":1,"avro_record":"shop.Seen"}` + "\n"}, {empty, `{"avro_record":"Seen"}` + "\n"}} {
		if got, err := readAvro(c.data); err != nil || got != c.want {
			t.Errorf("%q, %v, want %q", got, err, c.want)
		}
	}
}

// TestAvroTraps: what is broken, or asks for more than there is, is an error after what came before it.
func TestAvroTraps(t *testing.T) {
	const one = `{"type":"record","name":"R","fields":[{"name":"n","type":TYPE}]}`
	of := func(typ string) string { return strings.ReplaceAll(one, "TYPE", typ) }
	good := [][]byte{avroLong(1)}
	flip := avroFile(t, "null", of(`"long"`), good, good)
	flip[len(flip)-1]++ // a marker that is another
	deep := strings.Repeat(`{"type":"array","items":`, 80) + `"long"` + strings.Repeat("}", 80)
	for name, c := range map[string]struct {
		data    []byte
		refused bool // as input that cannot be read at all
	}{
		"a marker":            {flip, false},
		"a count":             {avroFile(t, "null", of(`{"type":"array","items":"null"}`), [][]byte{avroLong(1 << 60)}), false},
		"an index of a union": {avroFile(t, "null", of(`["null","long"]`), [][]byte{avroLong(2)}), false},
		"a symbol":            {avroFile(t, "null", of(`{"type":"enum","name":"E","symbols":["A"]}`), [][]byte{avroLong(1)}), false},
		"a length":            {avroFile(t, "null", of(`"string"`), [][]byte{avroLong(1 << 40)}), false},
		"a negative length":   {avroFile(t, "null", of(`"bytes"`), [][]byte{avroLong(-9)}), false},
		"more than was told":  {avroFile(t, "null", of(`"long"`), [][]byte{joined(avroLong(1), avroLong(2))}), false},
		"records of nothing": {joined(avroFile(t, "null", of(`"null"`)), avroLong(1<<60), avroLong(0),
			[]byte(avroSync)), false},
		"a block without end":  {joined(avroFile(t, "null", of(`"long"`)), avroLong(1), avroLong(1<<50)), false},
		"a type that is none":  {avroFile(t, "null", of(`"Nobody"`), good), false},
		"too deep":             {avroFile(t, "null", of(deep), good), false},
		"no JSON":              {avroFile(t, "null", "{", good), false},
		"another codec":        {avroFile(t, "brotli", of(`"long"`), good), true},
		"no records":           {avroFile(t, "null", `"long"`, good), true},
		"a bomb":               {avroFile(t, "deflate", of(`"string"`), [][]byte{make([]byte, maxAvroBlock+1)}), false},
		"a header without end": {joined([]byte("Obj\x01"), avroLong(1<<60), avroText("k"), avroLong(1<<40)), false},
	} {
		got, err := readAvro(c.data)
		var input *InputError
		if err == nil || errors.As(err, &input) != c.refused || len(got) > 1<<20 {
			t.Errorf("%s: %v, %d bytes", name, err, len(got))
		}
	}
	// Twice as much on every floor, of no bytes at all.
	laughs := `{"name":"x0","type":{"type":"record","name":"L0","fields":[{"name":"n","type":"null"}]}}`
	for i := range 30 {
		laughs += fmt.Sprintf(`,{"name":"x%d","type":{"type":"record","name":"L%[1]d","fields":[{"name":"a","type":"L%d"},`+
			`{"name":"b","type":"L%[2]d"}]}}`, i+1, i)
	}
	wide := `{"type":"record","name":"R","fields":[` + laughs + `]}`
	if _, err := readAvro(avroFile(t, "null", wide, [][]byte{nil})); !errors.Is(err, errAvro) {
		t.Errorf("a schema that grows: %v", err)
	}
	name := strings.Repeat("n", 1<<20)
	many := avroFile(t, "null", `{"type":"record","name":"R","fields":[{"name":"`+name+`","type":"null"}]}`)
	many = append(many, joined(avroLong(1000), avroLong(999), make([]byte, 999), []byte(avroSync))...)
	if got, err := readAvro(many); !errors.Is(err, errAvro) || len(got) > 80<<20 {
		t.Errorf("records of names alone: %d bytes, %v", len(got), err)
	}
	endless := `{"type":"record","name":"R","fields":[{"name":"n","type":["R","null"]}]}`
	if _, err := readAvro(avroFile(t, "null", endless, [][]byte{make([]byte, 1000)})); !errors.Is(err, errAvro) {
		t.Errorf("a record in itself without end: %v", err)
	}
}

// TestAvroIsNoLog: what such a file has grown by cannot be read by itself, and is not taken for a file of its own.
func TestAvroIsNoLog(t *testing.T) {
	data := avroFile(t, "null", `{"type":"record","name":"R","fields":[{"name":"n","type":"long"}]}`, [][]byte{avroLong(1)})
	at := bytes.NewReader(append(data, data[len(data)-19:]...))
	if err := continues(at, int64(len(data))); err == nil || canGrow(codecAt(at, 0)) {
		t.Errorf("it may grow: %v", err)
	}
}

// FuzzAvro: whatever a file holds, what is read of it is lines of JSON.
func FuzzAvro(f *testing.F) {
	f.Add(avroFile(f, "null", `{"type":"record","name":"R","fields":[{"name":"n","type":["null","string"]},{"name":"m",`+
		`"type":{"type":"map","values":"double"}}]}`, [][]byte{joined(avroLong(1), avroText("x"), avroLong(0))}))
	f.Add(avroFile(f, "snappy", `{"type":"record","name":"R","fields":[{"name":"n","type":{"type":"bytes",`+
		`"logicalType":"decimal","scale":2}}]}`, [][]byte{avroText("\xfb")}))
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 1<<16 || !bytes.HasPrefix(data, []byte("Obj\x01")) {
			return
		}
		r, _, err := decompress(bufio.NewReader(bytes.NewReader(data)))
		if err != nil {
			return
		}
		out, _ := io.ReadAll(io.LimitReader(r, 1<<20))
		for line := range bytes.Lines(out) {
			if len(out) < 1<<20 && !isJSONLine(line) {
				t.Fatalf("%q is no line of JSON", line)
			}
		}
	})
}

func isJSONLine(line []byte) bool {
	return bytes.HasSuffix(line, []byte("}\n")) && event.Valid(line) == nil
}

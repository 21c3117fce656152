package source

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"compress/flate"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"

	"github.com/fanfold/fanfold/pkg/event"
)

// Bounds for what an Avro file may ask for.
const (
	maxAvroBlock  = 64 << 20 // bytes of a block, unpacked
	maxAvroSchema = 4 << 20
	maxAvroRecord = 64 << 20 // bytes of a record as JSON
	maxAvroDepth  = 64
	// How much larger than the file its JSON may become: names and nulls take no bytes in Avro, so a small file
	// could ask for endless output.
	mostAvroGrowth = 1000
	// avroRecord is the member that holds the name of a record's type, if the record does not have it itself.
	avroRecord = "avro_record"
)

var errAvro = errors.New("the Avro data is broken")

// avroReader turns an Avro object container file into lines of JSON, one for each record, because the rest of the
// package reads those.
// https://avro.apache.org/docs/1.12.0/specification/#object-container-files
type avroReader struct {
	br     *bufio.Reader
	schema *avroType
	called []byte // the name, which is added to every record
	codec  string
	sync   [16]byte
	xz     xzReader // none before the first block that is packed so

	data avroData // of the current block
	left int64    // records left in it
	took int64    // bytes of blocks so far, decompressed
	made int64    // bytes of lines so far
	line []byte   // the part of the current line that was not read yet
	buf  []byte
	err  error
}

// newAvro reads the header of a file.
func newAvro(br *bufio.Reader) (*avroReader, error) {
	a := &avroReader{br: br}
	if _, err := br.Discard(len("Obj\x01")); err != nil {
		return nil, err
	}
	var schema []byte
	for size := 0; ; {
		n, err := binary.ReadVarint(br)
		if err != nil {
			return nil, err
		}
		if n < 0 { // then the size of the block follows, for readers that skip it
			n = -n
			if _, err = binary.ReadVarint(br); err != nil {
				return nil, err
			}
		}
		if n == 0 {
			break
		}
		for ; n > 0; n-- {
			key, err := a.text(&size)
			if err != nil {
				return nil, err
			}
			value, err := a.text(&size)
			if err != nil {
				return nil, err
			}
			switch string(key) {
			case "avro.schema":
				schema = value
			case "avro.codec":
				a.codec = string(value)
			}
		}
	}
	if _, err := io.ReadFull(br, a.sync[:]); err != nil {
		return nil, err
	}
	return a, a.use(schema)
}

// text reads a text of the header. size is the sum over all of them.
func (a *avroReader) text(size *int) ([]byte, error) {
	n, err := binary.ReadVarint(a.br)
	if err != nil {
		return nil, err
	}
	if n < 0 || n > maxAvroSchema || *size+int(n) > maxAvroSchema {
		return nil, errAvro
	}
	*size += int(n) + 1
	b := make([]byte, n)
	_, err = io.ReadFull(a.br, b)
	return b, err
}

// use parses the schema of the file.
func (a *avroReader) use(schema []byte) (err error) {
	if !slices.Contains([]string{"", "null", "deflate", "snappy", "zstandard", "bzip2", "xz"}, a.codec) {
		return &InputError{Err: fmt.Errorf("an Avro file with the codec %q is not read", a.codec)}
	}
	var tree any
	if json.Unmarshal(schema, &tree) != nil {
		return errAvro
	}
	s := avroSchemas{named: map[string]*avroType{}}
	if a.schema, err = s.read(tree, "", 0); err != nil {
		return err
	}
	if a.schema.kind != "record" {
		return &InputError{Err: fmt.Errorf("an Avro file of %s has no records in it", a.schema.kind)}
	}
	for _, f := range a.schema.fields {
		if f.name == "type" || f.name == "event" || f.name == avroRecord {
			return nil
		}
	}
	a.called = event.AppendQuoted(append(event.AppendQuoted(nil, avroRecord), ':'), a.schema.name)
	return nil
}

// Read is an [io.Reader].
func (a *avroReader) Read(p []byte) (int, error) {
	for len(a.line) == 0 {
		if a.err == nil {
			a.err = a.next()
		}
		if a.err != nil {
			return 0, a.err
		}
	}
	n := copy(p, a.line)
	a.line = a.line[n:]
	return n, nil
}

// next prepares the next record.
func (a *avroReader) next() error {
	for a.left == 0 {
		if len(a.data.b) > 0 {
			return errAvro // there is more data than the announced records
		}
		if _, err := a.br.Peek(1); err != nil {
			return err
		}
		if err := a.block(); err != nil {
			if errors.Is(err, io.EOF) {
				return io.ErrUnexpectedEOF
			}
			return err
		}
	}
	a.left--
	out, err := a.data.value(a.schema, a.buf[:0], 0)
	if err != nil {
		return err
	}
	if a.called != nil {
		out[len(out)-1] = ','
		if out[len(out)-2] == '{' {
			out = out[:len(out)-1]
		}
		out = append(append(out, a.called...), '}')
	}
	a.buf = append(out, '\n')
	if a.made += int64(len(a.buf)); a.made > maxAvroBlock+mostAvroGrowth*a.took {
		return fmt.Errorf("%w: its schema makes %d bytes of %d", errAvro, a.made, a.took)
	}
	a.line = a.buf
	return nil
}

// block reads the next block.
func (a *avroReader) block() error {
	n, err := binary.ReadVarint(a.br)
	if err != nil {
		return err
	}
	size, err := binary.ReadVarint(a.br)
	if err != nil {
		return err
	}
	if n < 0 || size < 0 || size > maxAvroBlock {
		return errAvro
	}
	packed, err := io.ReadAll(io.LimitReader(a.br, size)) // uses no more memory than there is data
	if err != nil {
		return err
	}
	if int64(len(packed)) < size {
		return io.ErrUnexpectedEOF
	}
	var sync [16]byte
	if _, err = io.ReadFull(a.br, sync[:]); err != nil {
		return err
	}
	if sync != a.sync {
		return errAvro
	}
	plain, err := a.unpack(packed)
	if err != nil {
		return fmt.Errorf("%w: %w", errAvro, err)
	}
	if n > int64(len(plain))+1 {
		return errAvro // records without any data
	}
	a.left, a.data, a.took = n, avroData{b: plain}, a.took+int64(len(plain))
	return nil
}

// openXZ begins with a block of xz. All blocks are read in the same memory.
func (a *avroReader) openXZ(packed []byte) (err error) {
	if a.xz.z != nil {
		return a.xz.reset(bytes.NewReader(packed))
	}
	a.xz, err = newXZ(bytes.NewReader(packed))
	return err
}

func (a *avroReader) unpack(packed []byte) ([]byte, error) {
	var r io.Reader
	switch a.codec {
	case "deflate":
		r = flate.NewReader(bytes.NewReader(packed))
	case "bzip2":
		r = bzip2.NewReader(bytes.NewReader(packed))
	case "xz":
		if err := a.openXZ(packed); err != nil {
			return nil, err
		}
		r = a.xz
	case "zstandard":
		z, err := zstd.NewReader(bytes.NewReader(packed), zstd.WithDecoderConcurrency(1),
			zstd.WithDecoderMaxMemory(maxAvroBlock))
		if err != nil {
			return nil, err
		}
		defer z.Close()
		r = z
	case "snappy":
		if len(packed) < 4 {
			return nil, errAvro
		}
		body, sum := packed[:len(packed)-4], binary.BigEndian.Uint32(packed[len(packed)-4:])
		if n, err := s2.DecodedLen(body); err != nil || n > maxAvroBlock {
			return nil, errAvro
		}
		plain, err := s2.Decode(nil, body)
		if err == nil && crc32.ChecksumIEEE(plain) != sum {
			err = errors.New("a checksum is wrong")
		}
		return plain, err
	default:
		return packed, nil
	}
	plain, err := io.ReadAll(io.LimitReader(r, maxAvroBlock+1))
	if err == nil && len(plain) > maxAvroBlock {
		err = fmt.Errorf("a block has more than %d bytes", maxAvroBlock)
	}
	return plain, zstdError(err, maxAvroBlock)
}

// avroType is one type of the schema.
type avroType struct {
	kind, logical, name string
	fields              []avroField
	of                  []*avroType // of an array or map the element type, of a union all types
	symbols             []string
	size, scale         int
}

type avroField struct {
	name string
	key  []byte // in quotes, with the colon
	typ  *avroType
}

// avroSchemas parses schemas. A type may be used by name before its definition, and inside it.
type avroSchemas struct {
	named map[string]*avroType
	parts int
}

func (s *avroSchemas) read(tree any, space string, depth int) (*avroType, error) {
	if s.parts++; depth > maxAvroDepth || s.parts > 1<<16 {
		return nil, errAvro
	}
	switch v := tree.(type) {
	case string:
		switch v {
		case "null", "boolean", "int", "long", "float", "double", "bytes", "string":
			return &avroType{kind: v}, nil
		}
		for _, name := range []string{fullName(v, space), v} {
			if t := s.named[name]; t != nil {
				return t, nil
			}
		}
		return nil, errAvro
	case []any:
		t := &avroType{kind: "union"}
		return t, s.each(t, v, space, depth)
	case map[string]any:
		return s.object(v, space, depth)
	}
	return nil, errAvro
}

func (s *avroSchemas) each(t *avroType, list []any, space string, depth int) error {
	for _, part := range list {
		of, err := s.read(part, space, depth+1)
		if err != nil {
			return err
		}
		t.of = append(t.of, of)
	}
	return nil
}

func (s *avroSchemas) object(v map[string]any, space string, depth int) (*avroType, error) {
	kind, isName := v["type"].(string)
	if !isName {
		return s.read(v["type"], space, depth+1)
	}
	t := &avroType{kind: kind}
	t.logical, _ = v["logicalType"].(string)
	whole := func(key string) int {
		n, ok := v[key].(float64)
		if !ok || n < 0 || n > 1<<20 {
			return 0
		}
		return int(n)
	}
	t.size, t.scale = whole("size"), whole("scale")
	switch kind {
	case "record", "error", "enum", "fixed":
		name, _ := v["name"].(string)
		if own, ok := v["namespace"].(string); ok {
			space = own
		}
		t.name = fullName(name, space)
		if i := strings.LastIndexByte(t.name, '.'); i >= 0 {
			space = t.name[:i]
		}
		s.named[t.name] = t
	case "array", "map":
		items := v["items"]
		if kind == "map" {
			items = v["values"]
		}
		return t, s.each(t, []any{items}, space, depth)
	default:
		plain, err := s.read(kind, space, depth+1)
		if err != nil || plain.kind != kind {
			return plain, err
		}
		return t, nil
	}
	symbols, _ := v["symbols"].([]any)
	for _, symbol := range symbols {
		t.symbols = append(t.symbols, fmt.Sprint(symbol))
	}
	fields, _ := v["fields"].([]any)
	for _, field := range fields {
		f, ok := field.(map[string]any)
		name, named := f["name"].(string)
		if !ok || !named {
			return nil, errAvro
		}
		typ, err := s.read(f["type"], space, depth+1)
		if err != nil {
			return nil, err
		}
		t.fields = append(t.fields, avroField{name, append(event.AppendQuoted(nil, name), ':'), typ})
	}
	if t.kind == "error" {
		t.kind = "record"
	}
	return t, nil
}

func fullName(name, space string) string {
	if space == "" || strings.Contains(name, ".") {
		return name
	}
	return space + "." + name
}

// avroData is the data that was not read yet.
type avroData struct{ b []byte }

func (d *avroData) long() (int64, error) {
	n, size := binary.Varint(d.b)
	if size <= 0 {
		return 0, errAvro
	}
	d.b = d.b[size:]
	return n, nil
}

func (d *avroData) bytes(n int64) ([]byte, error) {
	if n < 0 || n > int64(len(d.b)) {
		return nil, errAvro
	}
	out := d.b[:n]
	d.b = d.b[n:]
	return out, nil
}

func (d *avroData) counted() ([]byte, error) {
	n, err := d.long()
	if err != nil {
		return nil, err
	}
	return d.bytes(n)
}

// value appends the next value as JSON.
func (d *avroData) value(t *avroType, dst []byte, depth int) ([]byte, error) {
	if depth > maxAvroDepth || len(dst) > maxAvroRecord {
		return nil, errAvro
	}
	switch t.kind {
	case "null":
		return append(dst, "null"...), nil
	case "boolean":
		b, err := d.bytes(1)
		if err != nil || b[0] > 1 {
			return nil, errAvro
		}
		return strconv.AppendBool(dst, b[0] == 1), nil
	case "int", "long":
		n, err := d.long()
		return appendAvroLong(dst, n, t.logical), err
	case "float":
		b, err := d.bytes(4)
		if err != nil {
			return nil, err
		}
		return appendFloat(dst, float64(math.Float32frombits(binary.LittleEndian.Uint32(b))), 32), nil
	case "double":
		b, err := d.bytes(8)
		if err != nil {
			return nil, err
		}
		return appendFloat(dst, math.Float64frombits(binary.LittleEndian.Uint64(b)), 64), nil
	case "string", "bytes":
		b, err := d.counted()
		return appendAvroBytes(dst, b, t), err
	case "fixed":
		b, err := d.bytes(int64(t.size))
		return appendAvroBytes(dst, b, t), err
	case "enum":
		n, err := d.long()
		if err != nil || n < 0 || n >= int64(len(t.symbols)) {
			return nil, errAvro
		}
		return event.AppendQuoted(dst, t.symbols[n]), nil
	case "union":
		n, err := d.long()
		if err != nil || n < 0 || n >= int64(len(t.of)) {
			return nil, errAvro
		}
		return d.value(t.of[n], dst, depth+1)
	case "array", "map":
		return d.blocks(t, dst, depth)
	case "record":
		dst = append(dst, '{')
		for i, f := range t.fields {
			if i > 0 {
				dst = append(dst, ',')
			}
			var err error
			if dst, err = d.value(f.typ, append(dst, f.key...), depth+1); err != nil {
				return nil, err
			}
		}
		return append(dst, '}'), nil
	}
	return nil, errAvro
}

// blocks appends an array or a map, which is stored in blocks.
func (d *avroData) blocks(t *avroType, dst []byte, depth int) ([]byte, error) {
	ends := "[]"
	if t.kind == "map" {
		ends = "{}"
	}
	dst = append(dst, ends[0])
	for first := true; ; {
		n, err := d.long()
		if err != nil {
			return nil, err
		}
		if n == 0 {
			return append(dst, ends[1]), nil
		}
		if n < 0 {
			n = -n
			if _, err = d.long(); err != nil {
				return nil, err
			}
		}
		for ; n != 0; n-- {
			if !first {
				dst = append(dst, ',')
			}
			first = false
			if t.kind == "map" {
				var key []byte
				if key, err = d.counted(); err != nil {
					return nil, err
				}
				dst = append(event.AppendQuoted(dst, key), ':')
			}
			if dst, err = d.value(t.of[0], dst, depth+1); err != nil {
				return nil, err
			}
		}
	}
}

// appendAvroLong appends a number, or the time that it stands for.
func appendAvroLong(dst []byte, n int64, logical string) []byte {
	var at time.Time
	layout := `"2006-01-02T15:04:05.999999999Z"`
	switch strings.TrimPrefix(logical, "local-") {
	case "date":
		at, layout = time.Unix(0, 0).AddDate(0, 0, int(n)), `"2006-01-02"`
	case "timestamp-millis":
		at = time.UnixMilli(n)
	case "timestamp-micros":
		at = time.UnixMicro(n)
	case "timestamp-nanos":
		at = time.Unix(0, n)
	case "time-millis":
		at, layout = time.UnixMilli(n), `"15:04:05.999"`
	case "time-micros":
		at, layout = time.UnixMicro(n), `"15:04:05.999999"`
	default:
		return strconv.AppendInt(dst, n, 10)
	}
	if at = at.UTC(); at.Year() < 1 || at.Year() > 9999 {
		return strconv.AppendInt(dst, n, 10)
	}
	return at.AppendFormat(dst, layout)
}

// appendAvroBytes appends a text, a number, or, for anything else, base64.
func appendAvroBytes(dst, b []byte, t *avroType) []byte {
	switch {
	case t.logical == "decimal" && t.kind != "string" && len(b) <= 64 && t.scale <= 256:
		return appendDecimal(dst, twosComplement(b), t.scale)
	case t.logical == "uuid" && len(b) == 16:
		return fmt.Appendf(dst, `"%x-%x-%x-%x-%x"`, b[:4], b[4:6], b[6:8], b[8:10], b[10:])
	case utf8.Valid(b):
		return event.AppendQuoted(dst, b)
	}
	return append(base64.StdEncoding.AppendEncode(append(dst, '"'), b), '"')
}

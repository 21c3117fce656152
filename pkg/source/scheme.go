package source

import (
	"context"
	"errors"
	"io"
	"regexp"
	"slices"
	"strings"
)

// Scheme is a kind of address that --from accepts. Its input is read either as objects, which are frozen in a
// manifest and can be read again from any place, or as a stream, which can be read once and is spooled.
type Scheme struct {
	// Name is the part before "://". Two names have no such form: "file" is any other path, "-" is standard input.
	Name string
	// Form shows what an address looks like, for help and errors.
	Form string
	// Flags are the scheme's own options.
	Flags []Flag
	// Identity is the part of the flags that makes the same address a different input; nil: none.
	Identity func() string
	// Remote says that listing takes long, so it continues while the first objects are read.
	Remote bool
	// Objects returns the reader of addresses as objects. It is called at most once for an Input.
	Objects func(ctx context.Context, s *Input) (objects, error)
	// Stream returns the stream that an address names, or nil if it names none. in is standard input.
	Stream func(d Disk, in io.Reader, address string) *Stream
}

// Flag is an option of a scheme. Either Text or Switch is set; it holds the value.
type Flag struct {
	Name, Usage string
	Text        *string
	Switch      *bool
}

// Stream is input that can be read once.
type Stream struct {
	Name string // for messages
	In   io.Reader
	// Standard says that it is the standard input of the process.
	Standard bool
}

// objects lists and opens the objects of one scheme. open and release are used by
// many goroutines at once.
type objects interface {
	// list examines an address, so that mistakes are found at once, and returns the function that adds its objects
	// to the manifest. from is the index in Options.From.
	list(ctx context.Context, from int, address string) (lister, error)
	// open opens entry index of the manifest. If the object is not the one that was frozen, it returns a
	// *ChangedError.
	open(ctx context.Context, obj Object, index int) (*opened, error)
	// release says that nothing before an entry will be read again.
	release(before uint32)
	// close frees what is held. No object is open any more.
	close() error
}

// lister adds objects to the manifest.
type lister func(ctx context.Context) error

// opened is an object that is open for reading: as a stream from its beginning, and, if at is not nil, at any
// place.
type opened struct {
	io.Reader
	at      io.ReaderAt
	size    int64
	fault   *fault  // why reading it failed, except for errors in its bytes
	damaged error   // why nothing of it can be read, if its bytes are the cause
	growth  *growth // the part of it that is to be read; nil: all
	most    int64   // of plain bytes, if the object was compressed since; 0: all
	close   func() error
}

func (o *opened) Close() error { return o.close() }

// Schemes are the kinds of addresses that are known, with the values of their flags.
type Schemes []Scheme

// Known returns every scheme, each with its own copy of the flags.
func Known() Schemes {
	return Schemes{
		Files(),
		Standard(),
		S3(&S3Options{}),
	}
}

// Standard is the scheme of standard input.
func Standard() Scheme {
	return Scheme{
		Name: "-",
		Form: "- for standard input",
		Stream: func(_ Disk, in io.Reader, _ string) *Stream {
			return &Stream{Name: "standard input", In: in, Standard: true}
		},
	}
}

var schemed = regexp.MustCompile(`^([A-Za-z][A-Za-z0-9+.-]*)://`)

// Of returns the scheme of an address, or an *InputError if there is none.
func (k Schemes) Of(address string) (*Scheme, error) {
	name := "file"
	if address == "-" {
		name = "-"
	} else if m := schemed.FindStringSubmatch(address); m != nil {
		name = m[1]
	}
	if i := slices.IndexFunc(k, func(s Scheme) bool { return s.Name == name }); i >= 0 {
		return &k[i], nil
	}
	return nil, inputf("%s: %s:// is not read; --from takes %s", address, name, k.Forms())
}

// Forms lists the forms of addresses, as part of a sentence.
func (k Schemes) Forms() string {
	var forms []string
	for _, s := range k {
		forms = append(forms, s.Form)
	}
	if n := len(forms); n > 1 {
		forms[n-2] += " or " + forms[n-1]
		forms = forms[:n-1]
	}
	return strings.Join(forms, ", ")
}

// Stream returns the stream that the addresses of a command name, or nil if they name objects. A stream has no
// known end, so nothing could be read after it: it must be the only address.
func (k Schemes) Stream(d Disk, in io.Reader, addresses []string) (*Stream, error) {
	for _, a := range addresses {
		s, err := k.Of(a)
		if err != nil {
			return nil, err
		}
		if s.Stream == nil {
			continue
		}
		st := s.Stream(d, in, a)
		if st != nil && len(addresses) > 1 {
			return nil, inputf(
				"%s can be read only once and cannot be combined with other inputs: "+
					"join them in one pipe, as cat does", st.Name)
		}
		if st != nil {
			return st, nil
		}
	}
	return nil, nil
}

// Identity is what the flags of the schemes in use add to the identity of a run, by scheme. Schemes that add
// nothing are left out.
func (k Schemes) Identity(addresses []string) map[string]string {
	out := map[string]string{}
	for _, a := range addresses {
		if s, err := k.Of(a); err == nil && s.Identity != nil && s.Identity() != "" {
			out[s.Name] = s.Identity()
		}
	}
	return out
}

// errNoObjects is returned when a scheme that has only streams is asked for objects.
var errNoObjects = errors.New("it can only be read as a stream")

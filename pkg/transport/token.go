package transport

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/http/httpguts"

	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/event"
)

const (
	// A token is not used in the last seconds of its life: it might end on the way.
	early = 30 * time.Second
	// patience is how long an answer with a token may take.
	patience = 30 * time.Second
	// maxToken bounds the answer with a token, in bytes.
	maxToken = 1 << 20
)

// tokens has the token of a lane. It is safe for concurrent use: while one request asks for a
// token the others wait for it.
type tokens struct {
	next    http.RoundTripper
	grant   *destination.Grant
	now     func() time.Time // nil: a token is used until it is refused
	learned func(secrets ...string)
	kept    *Kept
	said    func(error) // what became of a refresh token that was to be kept; nil: it is

	mu      sync.Mutex
	token   string
	ends    time.Time // zero: not known
	refresh string    // the refresh token that the partner gave last; "": that of the grant
	ahead   bool      // it could not be kept
}

// refusal is the answer of a partner that gives no token.
type refusal struct{ words string }

func (r *refusal) Error() string { return r.words }

// get returns a token that is not the one given, which was refused.
func (t *tokens) get(ctx context.Context, refused string) (string, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.token != "" && t.token != refused && (t.now == nil || t.ends.IsZero() || t.now().Before(t.ends.Add(-early))) {
		return t.token, nil
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := t.ask(ctx); err != nil {
		return "", err
	}
	return t.token, nil
}

// ask gets a token for the refresh token that the partner gave last, to this process or another: processes ask one
// after the other, since a partner may take each token once. An older one, or the configured one once there is another,
// is not tried: partners that see a spent token again may take all of them for stolen. It needs t.mu.
func (t *tokens) ask(ctx context.Context) error {
	done, err := t.kept.lock(ctx)
	if err != nil {
		return fmt.Errorf("asking for a token: %w", err)
	}
	defer done()
	last := t.refresh
	if !t.ahead {
		kept, err := t.kept.Token()
		if err != nil && t.said != nil {
			t.said(err)
		}
		if err != nil && !errors.Is(err, errDamaged) {
			return fmt.Errorf("asking for a token: %w", err) // the configured one may be spent
		}
		if kept != "" && t.learned != nil {
			t.learned(kept)
		}
		last = cmp.Or(kept, last)
	}
	return t.askFor(ctx, last)
}

// askFor gets a token for a refresh token; "": the configured one.
func (t *tokens) askFor(ctx context.Context, refresh string) error {
	req, err := t.grant.Request(ctx, refresh)
	if err != nil {
		return errors.New("the address that tokens come from is none")
	}
	resp, err := t.next.RoundTrip(req)
	if err != nil {
		return fmt.Errorf("asking for a token: %w", clean(err))
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxToken))
	if err != nil {
		return fmt.Errorf("asking for a token: reading the answer: %w", err)
	}
	switch s := resp.StatusCode; {
	case s >= 400 && s < 500 && s != http.StatusRequestTimeout && s != http.StatusTooManyRequests:
		return &refusal{fmt.Sprintf("no token is given (status %d): %s", s, destination.Cut(string(data), 400))}
	case s != http.StatusOK && s != http.StatusCreated:
		return fmt.Errorf("asking for a token: the answer is a status %d", s)
	}
	token, again, seconds, err := t.read(data)
	if err != nil {
		return err
	}
	if t.learned != nil {
		t.learned(token, again)
	}
	t.token, t.ends = token, time.Time{}
	t.refresh = refresh
	if again != "" && t.grant.Form(again) != t.grant.Form(refresh) {
		t.refresh = again
		if t.kept != nil {
			unkept := t.kept.Keep(again)
			if t.ahead = unkept != nil; t.said != nil {
				t.said(unkept)
			}
		}
	}
	if seconds > 0 && seconds < 1e9 && t.now != nil {
		t.ends = t.now().Add(time.Duration(seconds * float64(time.Second)))
	}
	return nil
}

// read reads an answer with a token, and perhaps another refresh token and the seconds for which the token holds.
func (t *tokens) read(data []byte) (token, refresh string, seconds float64, err error) {
	answer, err := event.ParseValue(data)
	at := func(path string) string { return answer.Find(event.Keys(strings.Split(path, ".")...)).Text() }
	// What is wrong with it may hold the token: it is not said.
	kind := at("token_type")
	if token = at(t.grant.Token); err != nil || token == "" || !httpguts.ValidHeaderFieldValue(token) ||
		kind != "" && !strings.EqualFold(kind, "bearer") {
		return "", "", 0, errors.New("asking for a token: the answer has no " + t.grant.Token + " that can be used")
	}
	seconds, _ = strconv.ParseFloat(at(t.grant.Ends), 64)
	return token, at("refresh_token"), seconds, nil
}

// carry puts the token where the partner wants it.
func (t *tokens) carry(h http.Header, token string) { h.Set(t.grant.Header, t.grant.Prefix+token) }

// refused says whether an answer refuses the token. It reads the beginning of it where the partner has words for that.
func (t *tokens) refused(resp *http.Response) bool {
	if resp.StatusCode == http.StatusUnauthorized || len(t.grant.Refused) == 0 {
		return resp.StatusCode == http.StatusUnauthorized
	}
	const most = 16 << 10
	head, err := io.ReadAll(io.LimitReader(resp.Body, most))
	rest := io.Reader(resp.Body)
	if err != nil {
		rest = broken{err}
	}
	resp.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(head), rest), resp.Body}
	return slices.ContainsFunc(t.grant.Refused, func(text string) bool { return bytes.Contains(head, []byte(text)) })
}

// broken is the end of an answer that broke off.
type broken struct{ err error }

func (b broken) Read([]byte) (int, error) { return 0, b.err }

// signed sends a request with a token, and once more with another when that is refused. No
// token at all looks like a caller that the partner does not know, which stops the lane.
func (t *identity) signed(req *http.Request) (*http.Response, error) {
	token, err := t.tokens.get(req.Context(), "")
	if err != nil {
		return unknownCaller(req, err)
	}
	unsigned := req.Header.Clone()
	t.tokens.carry(req.Header, token)
	t.auth.Sign(req, t.time(), nonce)
	resp, err := t.next.RoundTrip(req)
	if err != nil || !t.tokens.refused(resp) || req.Body != nil && req.GetBody == nil {
		return resp, err
	}
	fresh, err := t.tokens.get(req.Context(), token)
	if err != nil {
		var no *refusal
		if errors.As(err, &no) {
			return resp, nil // the partner's own words
		}
		resp.Body.Close()
		return nil, err
	}
	resp.Body.Close()
	again := req.Clone(req.Context())
	if req.GetBody != nil {
		if again.Body, err = req.GetBody(); err != nil {
			return nil, err
		}
	}
	again.Header = unsigned
	t.tokens.carry(again.Header, fresh)
	t.auth.Sign(again, t.time(), nonce)
	return t.next.RoundTrip(again)
}

// unknownCaller answers for a partner that gives no token.
func unknownCaller(req *http.Request, err error) (*http.Response, error) {
	if req.Body != nil {
		req.Body.Close()
	}
	var no *refusal
	if !errors.As(err, &no) {
		return nil, err
	}
	return &http.Response{
		Status: "401 Unauthorized", StatusCode: http.StatusUnauthorized, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"Content-Type": {"text/plain"}}, Body: io.NopCloser(strings.NewReader(no.words)),
		ContentLength: int64(len(no.words)), Request: req,
	}, nil
}

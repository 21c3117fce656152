package source

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"html"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/fanfold/fanfold/pkg/transport"
)

// S3Options say how an object store is reached. What they leave open, the SDK
// finds as it always does: environment, profiles, SSO, web identity, instance
// roles.
type S3Options struct {
	Endpoint      string // "": the provider's own for the region
	Region        string
	Profile       string
	PathStyle     bool // bucket in the path instead of the host name
	Anonymous     bool // unsigned requests
	RequesterPays bool
	// Log is told of requests that are tried again: without an answer at Warn,
	// throttled ones and the like at Info. nil: nobody is.
	Log *slog.Logger
	// HTTPClient replaces the SDK's; nil: none. The caller keeps it.
	HTTPClient *http.Client
	// Store replaces all of this; nil: none.
	Store Store
}

// Store is what is needed of an object store. It is used by many goroutines at
// once.
type Store interface {
	// List returns one page of keys in order.
	List(ctx context.Context, r ListRequest) (*ListPage, error)
	// Get opens an object from a byte on. When the object's etag is another one
	// than given it fails with a *ChangedError.
	Get(ctx context.Context, bucket, key, etag string, from int64) (io.ReadCloser, error)
}

// ListRequest asks for a page of keys.
type ListRequest struct {
	Bucket, Prefix string
	Delimiter      string // "/" for one level only
	After          string // keys up to here are left out; for the first page
	Token          string // from the page before
	Max            int    // 0: as many as the store gives
}

// ListPage is a page of keys.
type ListPage struct {
	Keys     []Key
	Prefixes []string // with a Delimiter: what stands for keys below
	Next     string   // token of the next page; "": this was the last
}

// Key is an object as a listing shows it.
type Key struct {
	Name         string
	Size         int64
	ETag         string
	Modified     time.Time
	StorageClass string
}

// NewStore reaches an object store by the S3 protocol.
func NewStore(ctx context.Context, o S3Options) (Store, error) {
	c, err := S3Client(ctx, o)
	if err != nil {
		return nil, err
	}
	return &s3Store{client: c, payer: payer(o)}, nil
}

func payer(o S3Options) types.RequestPayer {
	if o.RequesterPays {
		return types.RequestPayerRequester
	}
	return ""
}

// S3Client returns a client as the SDK's environment and profiles, and the
// options, say. Throttled requests are retried for long.
func S3Client(ctx context.Context, o S3Options) (*s3.Client, error) {
	opts := []func(*config.LoadOptions) error{
		// Throttling is answered by waiting longer, not by giving up soon.
		config.WithRetryer(func() aws.Retryer {
			return talking{retry.NewStandard(func(so *retry.StandardOptions) {
				so.MaxAttempts = 10
				so.MaxBackoff = 20 * time.Second
				so.RateLimiter = unlimited{}
			}), o.Log}
		}),
	}
	if o.Region != "" {
		opts = append(opts, config.WithRegion(o.Region))
	}
	if o.Profile != "" {
		opts = append(opts, config.WithSharedConfigProfile(o.Profile))
	}
	if o.Anonymous {
		opts = append(opts, config.WithCredentialsProvider(aws.AnonymousCredentials{}))
	}
	if o.HTTPClient != nil {
		opts = append(opts, config.WithHTTPClient(o.HTTPClient))
	} else {
		opts = append(opts, config.WithHTTPClient(awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) { t.HTTP2 = transport.Pings() })))
	}
	cfg, err := config.LoadDefaultConfig(ctx, opts...)
	if err != nil {
		return nil, &InputError{fmt.Errorf("the S3 configuration cannot be read: %w", err)}
	}
	if cfg.Region == "" {
		cfg.Region = "us-east-1"
	}
	return s3.NewFromConfig(cfg, func(so *s3.Options) {
		so.UsePathStyle = o.PathStyle
		if o.Endpoint != "" {
			so.BaseEndpoint = aws.String(o.Endpoint)
		}
		// Etag and length are checked here; a checksum of the whole object is
		// of no use to a reader that resumes, and other stores send none.
		so.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired
		so.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
		so.DisableLogOutputChecksumValidationSkipped = true
	}), nil
}

// unlimited switches the SDK's budget for retries off: it would give up a long
// backfill after a few dozen throttled requests.
type unlimited struct{}

func (unlimited) GetToken(context.Context, uint) (func() error, error) {
	return func() error { return nil }, nil
}
func (unlimited) AddTokens(uint) error { return nil }

// talking says what is tried again: a store that does not answer is asked for two
// minutes, which look like a program that hangs.
type talking struct {
	*retry.Standard
	log *slog.Logger
}

// RetryDelay implements aws.Retryer.
func (t talking) RetryDelay(attempt int, err error) (time.Duration, error) {
	wait, failed := t.Standard.RetryDelay(attempt, err)
	if t.log != nil && failed == nil {
		level, why := slog.LevelWarn, err
		var status *smithyhttp.ResponseError
		var op *net.OpError
		switch {
		case errors.As(err, &status) && status.HTTPStatusCode() > 0:
			level = slog.LevelInfo
		case errors.As(err, &op):
			why = op
		}
		t.log.Log(context.Background(), level, "the object store is asked again", "after", wait.Round(time.Millisecond), "attempt", attempt+1, "of", t.MaxAttempts(), "because", why)
	}
	return wait, failed
}

type s3Store struct {
	client *s3.Client
	payer  types.RequestPayer
}

func (s *s3Store) List(ctx context.Context, r ListRequest) (*ListPage, error) {
	in := &s3.ListObjectsV2Input{Bucket: &r.Bucket, RequestPayer: s.payer, EncodingType: types.EncodingTypeUrl}
	text := func(v string) *string {
		if v == "" {
			return nil
		}
		return &v
	}
	in.Prefix, in.Delimiter, in.ContinuationToken = text(r.Prefix), text(r.Delimiter), text(r.Token)
	if r.Token == "" {
		in.StartAfter = text(r.After)
	}
	if r.Max > 0 {
		in.MaxKeys = aws.Int32(int32(r.Max))
	}
	var page *ListPage
	_, err := s.client.ListObjectsV2(ctx, in, func(o *s3.Options) {
		o.APIOptions = append(o.APIOptions, func(stack *middleware.Stack) error {
			return stack.Deserialize.Add(middleware.DeserializeMiddlewareFunc("ReadListing", func(ctx context.Context, in middleware.DeserializeInput, next middleware.DeserializeHandler) (middleware.DeserializeOutput, middleware.Metadata, error) {
				out, meta, err := next.HandleDeserialize(ctx, in)
				resp, ok := out.RawResponse.(*smithyhttp.Response)
				if err != nil || !ok || resp.StatusCode != http.StatusOK {
					return out, meta, err
				}
				var text bytes.Buffer
				if n := resp.ContentLength; n > 0 && n < 64<<20 {
					text.Grow(int(n) + bytes.MinRead)
				}
				_, err = text.ReadFrom(io.LimitReader(resp.Body, 64<<20))
				resp.Body.Close()
				body := text.Bytes()
				if err != nil {
					return out, meta, &smithy.DeserializationError{Err: err}
				}
				if page, err = parseListing(body); err != nil {
					return out, meta, &smithy.DeserializationError{Err: err}
				}
				resp.Body = io.NopCloser(strings.NewReader("<ListBucketResult></ListBucketResult>"))
				return out, meta, nil
			}), middleware.After)
		})
	})
	if err != nil {
		return nil, s.explain(ctx, err, r.Bucket, r.Prefix, "s3:ListBucket")
	}
	if page == nil {
		return nil, fmt.Errorf("listing s3://%s/%s: the answer is no listing", r.Bucket, r.Prefix)
	}
	return page, nil
}

// parseListing reads a page of ListObjectsV2. The SDK's own decoder takes some
// ten times as long, which would be minutes for a year's millions of keys.
func parseListing(b []byte) (*ListPage, error) {
	if !bytes.Contains(b[:min(len(b), 512)], []byte("<ListBucketResult")) || !bytes.Contains(b[max(0, len(b)-64):], []byte("</ListBucketResult>")) {
		return nil, fmt.Errorf("%w: the listing is cut off, or none", io.ErrUnexpectedEOF)
	}
	tag := func(b []byte, name string) []byte {
		i := bytes.Index(b, []byte("<"+name+">"))
		if i < 0 {
			return nil
		}
		b = b[i+len(name)+2:]
		n := bytes.Index(b, []byte("</"+name+">"))
		if n < 0 {
			return nil
		}
		return b[:n]
	}
	next := func(b []byte, name string) (inner, rest []byte) {
		i := bytes.Index(b, []byte("<"+name+">"))
		if i < 0 {
			return nil, nil
		}
		b = b[i+len(name)+2:]
		n := bytes.Index(b, []byte("</"+name+">"))
		if n < 0 {
			return nil, nil
		}
		return b[:n], b[n+len(name)+3:]
	}
	unescape := func(b []byte) string {
		if bytes.IndexByte(b, '&') < 0 {
			return string(b)
		}
		return html.UnescapeString(string(b))
	}
	// What is said of the page stands before or behind the lists of keys.
	outside := b
	if i := bytes.Index(b, []byte("<Contents>")); i >= 0 {
		j := bytes.LastIndex(b, []byte("</Contents>"))
		outside = append(bytes.Clone(b[:i]), b[max(i, j):]...)
	}
	encoded := string(tag(outside, "EncodingType")) == "url"
	var bad error
	key := func(b []byte) string {
		name := unescape(b)
		if encoded && strings.ContainsAny(name, "%+") {
			plain, err := url.QueryUnescape(name)
			if err != nil {
				bad = fmt.Errorf("the listing has a malformed key %q: %w", name, err)
			}
			return plain
		}
		return name
	}
	page := &ListPage{}
	if string(tag(outside, "IsTruncated")) == "true" {
		page.Next = unescape(tag(outside, "NextContinuationToken"))
		if page.Next == "" {
			return nil, errors.New("the listing goes on, but does not say where")
		}
	}
	rest := b
	for {
		var c []byte
		if c, rest = next(rest, "Contents"); c == nil {
			break
		}
		var k Key
		var size []byte
		for name, value := range elements(c) {
			switch string(name) {
			case "Key":
				k.Name = key(value)
			case "Size":
				size = value
			case "ETag":
				k.ETag = etag(value)
			case "LastModified":
				k.Modified = modified(value)
			case "StorageClass":
				if k.StorageClass = "STANDARD"; string(value) != k.StorageClass {
					k.StorageClass = string(value)
				}
			}
		}
		var err error
		if k.Size, err = strconv.ParseInt(string(size), 10, 64); err != nil {
			return nil, fmt.Errorf("the listing has an object without a size: %w", err)
		}
		page.Keys = append(page.Keys, k)
	}
	rest = b
	for {
		var c []byte
		if c, rest = next(rest, "CommonPrefixes"); c == nil {
			break
		}
		page.Prefixes = append(page.Prefixes, key(tag(c, "Prefix")))
	}
	return page, bad
}

// elements yields the elements of an element in one pass; what is nested in them
// is part of their text.
func elements(b []byte) func(yield func(name, value []byte) bool) {
	return func(yield func(name, value []byte) bool) {
		for {
			i := bytes.IndexByte(b, '<')
			if i < 0 {
				return
			}
			n := bytes.IndexByte(b[i:], '>')
			if n < 0 {
				return
			}
			name := b[i+1 : i+n]
			b = b[i+n+1:]
			if len(name) == 0 || name[0] == '/' || name[len(name)-1] == '/' {
				continue
			}
			for at := 0; ; {
				j := bytes.Index(b[at:], closing)
				if j < 0 {
					return
				}
				at += j + len(closing)
				if bytes.HasPrefix(b[at:], name) && len(b) > at+len(name) && b[at+len(name)] == '>' {
					if !yield(name, b[:at-len(closing)]) {
						return
					}
					b = b[at+len(name)+1:]
					break
				}
			}
		}
	}
}

var closing = []byte("</")

// etag is an etag without its quotes, which are escaped as a rule.
func etag(b []byte) string {
	for _, quote := range []string{"&quot;", `"`, "&#34;"} {
		if len(b) >= 2*len(quote) && string(b[:len(quote)]) == quote && string(b[len(b)-len(quote):]) == quote {
			b = b[len(quote) : len(b)-len(quote)]
			break
		}
	}
	if bytes.IndexByte(b, '&') < 0 {
		return string(b)
	}
	return strings.Trim(html.UnescapeString(string(b)), `"`)
}

// modified reads a time like 2025-06-01T00:00:00.000Z; it is for messages
// only, and there are millions.
func modified(b []byte) time.Time {
	digits := func(from, to int) (n int) {
		for _, c := range b[from:to] {
			n = n*10 + int(c-'0')
		}
		return n
	}
	if len(b) != 24 || b[10] != 'T' || b[23] != 'Z' {
		t, _ := time.Parse(time.RFC3339, string(b)) // the zero time says that it is not known
		return t
	}
	return time.Date(digits(0, 4), time.Month(digits(5, 7)), digits(8, 10), digits(11, 13), digits(14, 16), digits(17, 19), digits(20, 23)*1e6, time.UTC)
}

func (s *s3Store) Get(ctx context.Context, bucket, key, etag string, from int64) (io.ReadCloser, error) {
	in := &s3.GetObjectInput{Bucket: &bucket, Key: &key, RequestPayer: s.payer}
	if etag != "" {
		in.IfMatch = aws.String(`"` + etag + `"`)
	}
	if from > 0 {
		in.Range = aws.String(fmt.Sprintf("bytes=%d-", from))
	}
	out, err := s.client.GetObject(ctx, in)
	if err != nil {
		return nil, s.explain(ctx, err, bucket, key, "s3:GetObject")
	}
	if got := strings.Trim(aws.ToString(out.ETag), `"`); etag != "" && got != "" && got != etag {
		// Not every store heeds If-Match.
		out.Body.Close()
		return nil, &ChangedError{"s3://" + bucket + "/" + key, "it had the etag " + etag + " and has " + got}
	}
	if from > 0 && !strings.HasPrefix(aws.ToString(out.ContentRange), fmt.Sprintf("bytes %d-", from)) {
		if _, err := io.CopyN(io.Discard, out.Body, from); err != nil {
			out.Body.Close()
			return nil, err
		}
	}
	return out.Body, nil
}

// explain says what an error of the store means and what to do about it.
func (s *s3Store) explain(ctx context.Context, err error, bucket, key, action string) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	name := "s3://" + bucket + "/" + key
	status := 0
	var resp *smithyhttp.ResponseError
	if errors.As(err, &resp) && resp.Response != nil {
		status = resp.HTTPStatusCode()
	}
	code := ""
	var api smithy.APIError
	if errors.As(err, &api) {
		code = api.ErrorCode()
	}
	switch {
	case code == "NoSuchBucket":
		return &InputError{fmt.Errorf("there is no bucket %s", bucket)}
	case code == "NoSuchKey", action == "s3:GetObject" && status == http.StatusNotFound:
		return &ChangedError{name, "it is gone"}
	case code == "PreconditionFailed", status == http.StatusPreconditionFailed:
		return &ChangedError{name, "its etag is another one"}
	case code == "InvalidObjectState":
		return &InputError{fmt.Errorf("%s lies in an archive class and cannot be read: restore it first", name)}
	case code == "PermanentRedirect", code == "AuthorizationHeaderMalformed", status == http.StatusMovedPermanently:
		where := ""
		if resp != nil && resp.Response != nil {
			if r := resp.Response.Header.Get("x-amz-bucket-region"); r != "" {
				where = " (it is in " + r + ": --s3-region " + r + ")"
			}
		}
		return &InputError{fmt.Errorf("the bucket %s is in another region%s", bucket, where)}
	case status == http.StatusForbidden, status == http.StatusUnauthorized:
		if code == "" {
			code = strconv.Itoa(status)
		}
		return &InputError{fmt.Errorf("no access to %s (%s): the credentials need %s, or --s3-anonymous for a public bucket", name, code, action)}
	}
	var noCredentials *aws.MissingRegionError
	if errors.As(err, &noCredentials) || strings.Contains(err.Error(), "failed to refresh cached credentials") || strings.Contains(err.Error(), "get identity") {
		return &InputError{fmt.Errorf("no S3 credentials were found for %s: set AWS_PROFILE or AWS_ACCESS_KEY_ID, or --s3-anonymous for a public bucket", name)}
	}
	return fmt.Errorf("%s %s: %w", action, name, err)
}

package source

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
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

// S3Options say how to reach an object store. What is left empty, the SDK finds as usual: from environment,
// profiles, SSO, web identity, instance roles.
type S3Options struct {
	Endpoint      string // "": the provider's default for the region
	Region        string
	Profile       string
	PathStyle     bool // bucket in the path instead of the host name
	Anonymous     bool // unsigned requests
	RequesterPays bool
	// Log is told about requests that are retried: without an answer at Warn, throttled ones and similar at Info.
	// nil: no logging.
	Log *slog.Logger
	// HTTPClient replaces the SDK's client; nil: it is not replaced. The caller keeps ownership.
	HTTPClient *http.Client
	// Store replaces all of this; nil: it is not replaced.
	Store Store
}

// Store is the part of an object store's interface that is needed. It is used concurrently.
type Store interface {
	// List returns one page of keys in order.
	List(ctx context.Context, r ListRequest) (*ListPage, error)
	// Get opens an object from a byte on. If the object's etag differs from the given one, it fails with a
	// *ChangedError.
	Get(ctx context.Context, bucket, key, etag string, from int64) (io.ReadCloser, error)
}

// ListRequest asks for a page of keys.
type ListRequest struct {
	Bucket, Prefix string
	Delimiter      string // "/" for one level only
	After          string // only keys after this one; for the first page
	Token          string // from the previous page
	Max            int    // 0: as many as the store gives
}

// ListPage is a page of keys.
type ListPage struct {
	Keys     []Key
	Prefixes []string // with a Delimiter: the prefixes of deeper keys
	Next     string   // token of the next page; "": this is the last one
}

// Key is an object as a listing returns it.
type Key struct {
	Name         string
	Size         int64 // in bytes; negative: not known, and then the object is refused
	ETag         string
	Modified     time.Time
	StorageClass string
}

// S3 is the scheme of object stores with the S3 protocol. Its flags set o.
func S3(o *S3Options) Scheme {
	return Scheme{
		Name: "s3",
		Form: "s3://bucket/prefix",
		Flags: []Flag{
			{Name: "s3-endpoint", Usage: "address of an S3 server that is not Amazon's", Text: &o.Endpoint},
			{Name: "s3-region", Usage: "region of the bucket", Text: &o.Region},
			{Name: "s3-path-style", Usage: "bucket in the path instead of the host name", Switch: &o.PathStyle},
			{Name: "s3-anonymous", Usage: "do not sign requests", Switch: &o.Anonymous},
			{Name: "s3-requester-pays", Usage: "agree to pay for requests", Switch: &o.RequesterPays},
		},
		Identity: func() string { return o.Endpoint },
		Remote:   true,
		Objects: func(ctx context.Context, s *Input) (objects, error) {
			store := o.Store
			if store == nil {
				with := *o
				with.Log = s.o.Log
				var err error
				if store, err = NewStore(ctx, with); err != nil {
					return nil, err
				}
			}
			return inStore(s, "s3", store)
		},
	}
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

// S3Client returns a client configured by the SDK's environment and profiles, and by the options. Throttled
// requests are retried for a long time.
func S3Client(ctx context.Context, o S3Options) (*s3.Client, error) {
	opts := []func(*config.LoadOptions) error{
		// When throttled, wait longer instead of giving up soon.
		config.WithRetryer(func() aws.Retryer {
			return loggedRetryer{retry.NewStandard(func(so *retry.StandardOptions) {
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
		client := awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) {
			t.HTTP2 = transport.Pings()
		})
		opts = append(opts, config.WithHTTPClient(client))
	}
	cfg, err := config.LoadDefaultConfig(ctx, opts...)
	if err != nil {
		return nil, inputf("the S3 configuration cannot be read: %w", err)
	}
	if cfg.Region == "" {
		cfg.Region = "us-east-1"
	}
	return s3.NewFromConfig(cfg, func(so *s3.Options) {
		so.UsePathStyle = o.PathStyle
		if o.Endpoint != "" {
			so.BaseEndpoint = aws.String(o.Endpoint)
		}
		// Etag and length are checked here. A checksum of the whole object is useless to a reader that resumes,
		// and other stores send none.
		so.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired
		so.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
		so.DisableLogOutputChecksumValidationSkipped = true
	}), nil
}

// unlimited disables the SDK's retry quota, which would end a long backfill after a few dozen throttled requests.
type unlimited struct{}

func (unlimited) GetToken(context.Context, uint) (func() error, error) {
	return func() error { return nil }, nil
}
func (unlimited) AddTokens(uint) error { return nil }

// loggedRetryer logs retries: a store that does not answer is retried for two minutes, in which the program would
// seem to hang.
type loggedRetryer struct {
	*retry.Standard
	log *slog.Logger
}

// RetryDelay implements aws.Retryer.
func (t loggedRetryer) RetryDelay(attempt int, err error) (time.Duration, error) {
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
		t.log.Log(context.Background(), level, "the object store is asked again",
			"after", wait.Round(time.Millisecond), "attempt", attempt+1, "of", t.MaxAttempts(), "because", why)
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
			return stack.Deserialize.Add(readListing(&page), middleware.After)
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

// readListing replaces the SDK's own decoder for listings.
func readListing(page **ListPage) middleware.DeserializeMiddleware {
	type (
		input   = middleware.DeserializeInput
		output  = middleware.DeserializeOutput
		handler = middleware.DeserializeHandler
	)
	read := func(ctx context.Context, in input, next handler) (output, middleware.Metadata, error) {
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
		if err == nil {
			*page, err = parseListing(text.Bytes())
		}
		if err != nil {
			return out, meta, &smithy.DeserializationError{Err: err}
		}
		resp.Body = io.NopCloser(strings.NewReader("<ListBucketResult></ListBucketResult>"))
		return out, meta, nil
	}
	return middleware.DeserializeMiddlewareFunc("ReadListing", read)
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
		// Not every store honours If-Match.
		out.Body.Close()
		return nil, &ChangedError{Object: "s3://" + bucket + "/" + key, What: "it had the etag " + etag + " and has " + got}
	}
	if from > 0 && !strings.HasPrefix(aws.ToString(out.ContentRange), fmt.Sprintf("bytes %d-", from)) {
		if _, err := io.CopyN(io.Discard, out.Body, from); err != nil {
			out.Body.Close()
			return nil, err
		}
	}
	return out.Body, nil
}

// storef is a mistake that makes the whole store unreadable.
func storef(format string, args ...any) *InputError {
	return &InputError{Err: fmt.Errorf(format, args...), All: true}
}

// explain says what an error of the store means, and what to do about it.
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
		return storef("there is no bucket %s", bucket)
	case code == "NoSuchKey", action == "s3:GetObject" && status == http.StatusNotFound:
		return &ChangedError{Object: name, What: "it is gone", Gone: true}
	case code == "PreconditionFailed", status == http.StatusPreconditionFailed:
		return &ChangedError{Object: name, What: "its etag is another one"}
	case code == "InvalidObjectState":
		return inputf("%s lies in an archive class and cannot be read: restore it first", name)
	case code == "PermanentRedirect", code == "AuthorizationHeaderMalformed", status == http.StatusMovedPermanently:
		where := ""
		if resp != nil && resp.Response != nil {
			if r := resp.Response.Header.Get("x-amz-bucket-region"); r != "" {
				where = " (it is in " + r + ": --s3-region " + r + ")"
			}
		}
		return storef("the bucket %s is in another region%s", bucket, where)
	case status == http.StatusForbidden, status == http.StatusUnauthorized:
		if code == "" {
			code = strconv.Itoa(status)
		}
		denied := storef("no access to %s (%s): the credentials need %s, or --s3-anonymous for a public bucket",
			name, code, action)
		denied.All = key == "" || code != "AccessDenied"
		return denied
	}
	var noCredentials *aws.MissingRegionError
	if errors.As(err, &noCredentials) || strings.Contains(err.Error(), "failed to refresh cached credentials") ||
		strings.Contains(err.Error(), "get identity") {
		return storef("no S3 credentials were found for %s: set AWS_PROFILE or AWS_ACCESS_KEY_ID, or "+
			"--s3-anonymous for a public bucket", name)
	}
	return fmt.Errorf("%s %s: %w", action, name, err)
}

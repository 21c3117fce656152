// Package s3 delivers to buckets of Amazon S3 and of stores that speak its
// protocol: events as they were read, a batch an object of compressed JSON
// lines, under keys that a repeat writes again.
//
// The key of an object names the place of its first event in the input. A lane
// has one request in flight, and forms the batches of each partition in the
// order of the input: a batch whose verdict a crash has swallowed begins with
// the same event when it is formed again, so it takes the place of the first
// one, whether it is longer or shorter. What the shorter one leaves out begins
// the next object.
package s3

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/feature/s3/transfermanager"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
	"github.com/klauspost/compress/zstd"

	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/source"
)

// Settings of a bucket. Credentials come from where the AWS SDK finds them.
type Settings struct {
	Bucket    string `setting:"bucket,required" doc:"Name of the bucket; it has to exist." example:"my-events"`
	Prefix    string `setting:"prefix" doc:"Begins every key."`
	Template  string `setting:"template" doc:"Parts of the key by the event's time in UTC: {Y}, {M}, {D} and {H}." default:"{Y}/{M}/{D}"`
	Region    string `setting:"region" doc:"Region of the bucket, where the SDK's configuration does not say."`
	Endpoint  string `setting:"endpoint" doc:"Address of a store that is not Amazon's."`
	Profile   string `setting:"profile" doc:"Profile of the AWS configuration."`
	PathStyle bool   `setting:"path_style" doc:"Bucket in the path instead of the host name."`
}

const docs = "https://docs.aws.amazon.com/AmazonS3/latest/userguide/upload-objects.html"

// New declares the destination.
func New() destination.Destination {
	return destination.Spec[Settings]{
		Info: destination.Info{
			Slug: "s3", Name: "S3", Summary: "compressed JSON lines in a bucket", Docs: docs, Minimal: true,
			Elsewhere: []string{"Amazon S3", "AWS S3"},
			Backfill: "Every event is stored as it was read, by its own time. A resume writes the object that was under " +
				"way again, so that no event is stored twice. A new run over the same input (--fresh) may cut objects " +
				"elsewhere: give it a prefix of its own. Nothing is deleted.",
		},
		Check: func(s *Settings) (errs []error) {
			if rest := strings.NewReplacer("{Y}", "", "{M}", "", "{D}", "", "{H}", "").
				Replace(s.Template); strings.ContainsAny(rest, "{}") {
				errs = append(errs, errors.New("setting template: knows {Y}, {M}, {D} and {H}"))
			}
			if strings.Contains(s.Bucket, "/") {
				errs = append(errs, errors.New("setting bucket: is a name without /; the rest belongs into prefix"))
			}
			return errs
		},
		Local: func(s *Settings) (destination.Sender, error) { return &sender{s: s}, nil },
	}.Destination()
}

// partSize is the size in bytes from which an object is sent in parts, and of
// those parts.
const partSize = 8 << 20

type sender struct {
	s *Settings

	mu     sync.Mutex
	client *transfermanager.Client
	enc    *zstd.Encoder
}

// Plan has one request in flight: keys rest on the order of batches.
func (o *sender) Plan() *destination.Plan {
	return &destination.Plan{
		Local: true, Positions: true,
		Place: "s3://" + o.s.Bucket + "/" + strings.Trim(o.s.Prefix, "/") + " with the template " + o.s.Template +
			strings.TrimSuffix(" at "+o.s.Endpoint, " at "),
		Limits: destination.LaneLimits{Concurrency: destination.Cap{N: 1}},
		Actions: []destination.ActionPlan{{Slug: "write",
			Limits: destination.ActionLimits{BatchEvents: destination.Cap{N: 50_000},
				BatchBytes: destination.Cap{N: 16 << 20}}}},
	}
}

func (o *sender) Route(ev *event.Event, env *destination.Env, out *destination.Deliveries) {
	part := "undated"
	if at, ok := ev.Timestamp(); ok {
		part = partition(o.s.Template, at.UTC())
	}
	out.Add(destination.Delivery{Item: destination.Line(ev.Raw()), InsertID: env.Fallback,
		To: &destination.Address{Key: part}})
}

func partition(template string, at time.Time) string {
	two := func(n int) string { return fmt.Sprintf("%02d", n) }
	return strings.NewReplacer("{Y}", strconv.Itoa(at.Year()), "{M}", two(int(at.Month())), "{D}", two(at.Day()), "{H}",
		two(at.Hour())).Replace(template)
}

// key is the object that a batch becomes. The numbers in it sort as the events
// lie in the input.
func (o *sender) key(first *destination.Delivery) string {
	object, place, _ := strings.Cut(first.InsertID, "-")
	name := object
	for n := range strings.SplitSeq(place, "-") {
		name += "-" + strings.Repeat("0", max(0, 12-len(n))) + n
	}
	var parts []string
	for _, p := range []string{o.s.Prefix, first.Address().Key, name + ".jsonl.zst"} {
		if p = strings.Trim(p, "/"); p != "" {
			parts = append(parts, p)
		}
	}
	return strings.Join(parts, "/")
}

func (o *sender) open(ctx context.Context) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.client != nil {
		return nil
	}
	client, err := source.S3Client(ctx, source.S3Options{Endpoint: o.s.Endpoint, Region: o.s.Region, Profile: o.s.Profile,
		PathStyle: o.s.PathStyle})
	if err != nil {
		return err
	}
	if o.enc, err = zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1)); err != nil {
		return err
	}
	o.client = transfermanager.New(client, func(t *transfermanager.Options) {
		t.PartSizeBytes,
			t.MultipartUploadThreshold = partSize, partSize
	})
	return nil
}

// Send stores a batch as one object; in parts, when it is large.
func (o *sender) Send(ctx context.Context, _ destination.Transport, b *destination.Batch) (
	[]destination.Result, error) {
	if err := o.open(ctx); err != nil {
		return nil, err
	}
	var lines bytes.Buffer
	for _, d := range b.Deliveries {
		lines.Write(d.Item)
		lines.WriteByte('\n')
	}
	key := o.key(b.Deliveries[0])
	data := o.enc.EncodeAll(lines.Bytes(), nil)
	_, err := o.client.UploadObject(ctx, &transfermanager.UploadObjectInput{Bucket: &o.s.Bucket, Key: &key,
		Body: bytes.NewReader(data)})
	if err == nil {
		return destination.Same(destination.Result{Outcome: destination.Delivered}, len(b.Deliveries)), nil
	}
	var api smithy.APIError
	if errors.As(err, &api) {
		detail := destination.Cut(fmt.Sprintf("s3://%s/%s: %s: %s", o.s.Bucket, key, api.ErrorCode(), api.ErrorMessage()),
			400)
		var resp *smithyhttp.ResponseError
		status := 0
		if errors.As(err, &resp) {
			status = resp.HTTPStatusCode()
		}
		if status/100 == 3 || status/100 == 4 && status != http.StatusRequestTimeout && status != http.StatusConflict &&
			status != http.StatusTooManyRequests {
			// No event is at fault: whoever runs this has to mend it (the bucket,
			// its region, credentials, a key for encryption).
			return destination.Same(destination.Result{Outcome: destination.Retry, Reason: destination.Unauthorized,
				Status: status, Detail: detail}, len(b.Deliveries)), nil
		}
		return destination.Same(destination.Result{Outcome: destination.Retry, Reason: destination.Unavailable,
			Detail: detail}, len(b.Deliveries)), nil
	}
	return nil, fmt.Errorf("s3://%s/%s: %w", o.s.Bucket, key, err)
}

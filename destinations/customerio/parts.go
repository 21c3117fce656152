package customerio

import (
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/fanfold/fanfold/pkg/body"
	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/field"
)

const (
	path    = "/api/v2/batch"
	idDoc   = "A person's id, or email, or cio_id with cio_ in front."
	untimed = "the timestamp is not a time"
)

// Fields and members that stand in several actions.
var (
	timestamp = field.Text("timestamp").From("$.timestamp")
	data      = field.Object("data").From("$.properties")
	convert   = field.Boolean("convert_timestamp").Doc("Turns ISO 8601 dates among the attributes into Unix times.").
			Always(true)
	createdAt   = field.Text("created_at").From("$.traits.created_at", "$.traits.createdAt")
	anonymousID = field.AnonymousID("anonymous_id").Doc("Identifies somebody who has no id yet.")
	deviceID    = field.Text("device_id").Required().Doc("The device's push token.").From("$.context.device.token")

	isTimed = body.Any(body.Not(body.Has("timestamp")), body.From("timestamp").IsTime())
	at      = body.Member("timestamp", body.From("timestamp").Seconds())
)

func personID(key string) field.Line { return field.UserID(key).Doc(idDoc) }

func objectType(in string) field.Line {
	return field.Text("object_type_id").Doc("The object's type; 1 without it.").
		From("$."+in+".object_type_id", "$."+in+".objectTypeId")
}

// onBatch is an action of the batch endpoint. Its 207 names the entities that were refused,
// and has taken all others.
// https://docs.customer.io/api/track/#operation/batch
func onBatch(slug, title string) *destination.Declared {
	return destination.Action(slug, title).AllOrNothing().Verdicts(destination.ByIndex(
		"errors", "batch_index", "reason field message").OthersTaken())
}

func item(of ...body.Members) body.Node {
	return body.Object(body.Member("batch", body.Items(body.Object(of...))))
}

// person begins an operation on a person.
func person(action, id, email, anonymous string) body.Members {
	return body.Together(
		body.Member("type", body.Const("person")), body.Member("action", body.Const(action)),
		body.Member("identifiers", identifier(id, email, anonymous)),
	)
}

// plain is an operation that says nothing but whom it is about.
func plain(slug, title, action, does string) *destination.Declared {
	return onBatch(slug, title).Live(destination.Live{Does: does, Docs: entityDocs}).
		Fields(personID("person_id").Required()).
		Post(path, item(person(action, "person_id", "", "")))
}

// happening is an event, a page or a screen, whose name is in a field of its own: "field = path".
func happening(slug, title, action, named string) *destination.Declared {
	own := field.Texts(named)[0].Required()
	eventID := field.MessageID("event_id").Doc("Customer.io ignores a repeat of it when it is a ULID.")
	return onBatch(slug, title).
		Live(destination.Live{Does: "may start the campaigns that wait for it", Docs: batchDocs, Until: 72 * time.Hour}).
		Fields(personID("id"), anonymousID, own, eventID, timestamp, data, convert).
		NeedsIdentity(body.From("id", "anonymous_id").Filled(), "an id or anonymous_id is required").
		Needs(isTimed, untimed).
		Post(path, item(person(action, "id", "", "anonymous_id"),
			body.Copy("name = "+own.Key()),
			body.Member("id", body.From("event_id").As("an id that is not the event's own", notOwn).Else(body.InsertID())),
			at,
			body.When(body.Any(body.Has("data"), body.Has("anonymous_id")),
				body.Member("attributes", attributes("data", body.From("id").Filled(), nil))),
		))
}

// notOwn appends what is not the messageId, which further requests for the event extend.
func notOwn(dst []byte, v event.Value, c *body.Context) []byte {
	if v.Text() == c.Event("messageId").Text() {
		return dst
	}
	return append(dst, v.Raw()...)
}

// identifier chooses the identifier of a person out of some fields: only one can be sent.
// https://docs.customer.io/api/track/#operation/entity
func identifier(id, email, anonymous string) body.Node {
	as := func(key string, v body.Value) body.Node { return body.Object(body.Member(key, v)) }
	var may []body.Node
	if id != "" {
		v := body.From(id)
		may = append(may, as("cio_id", v.Matches("^cio_").As("without cio_", withoutPrefix)),
			as("email", v.Where("an email address", isEmail).Text()), as("id", v.Filled().Text()))
	}
	if email != "" {
		may = append(may, as("email", body.From(email).Filled().Text()))
	}
	if anonymous != "" {
		may = append(may, as("anonymous_id", body.From(anonymous).Filled().Text()))
	}
	return body.First(may...)
}

func withoutPrefix(dst []byte, v event.Value, _ *body.Context) []byte {
	return event.AppendQuoted(dst, []byte(strings.TrimPrefix(v.Text(), "cio_")))
}

// emails are the ids that count as an email address.
var emails = regexp.MustCompile("(?i)^[a-z0-9!#$%&'*+/=?^_`{|}~-]+(\\.[a-z0-9!#$%&'*+/=?^_`{|}~-]+)*" +
	"@([a-z0-9]([a-z0-9-]*[a-z0-9])?\\.)+[a-z0-9]([a-z0-9-]*[a-z0-9])?$")

func isEmail(v event.Value) bool {
	text := v.Text()
	return strings.Contains(text, "@") && emails.MatchString(text)
}

// object begins an operation on an object.
func object(action body.Node, id string) body.Members {
	return body.Together(body.Member("type", body.Const("object")), body.Member("action", action), objectIDs(id))
}

func objectIDs(id string) body.Members {
	kind := body.From("object_type_id").Filled().Text().Else(body.Const("1"))
	return body.Member("identifiers",
		body.Object(body.Member("object_type_id", kind), body.Member("object_id", body.From(id).Text())))
}

func related(to ...body.Members) body.Members {
	return body.Member("cio_relationships", body.List(body.Object(to...)))
}

// attributes are all members of a field but the skipped ones, and the anonymous id when it
// does not identify the person, which known says.
func attributes(of string, known body.Cond, skip []string, more ...body.Members) body.Node {
	anonymous := body.From("anonymous_id").Filled()
	ms := []body.Members{
		body.When(body.Not(anonymous), body.Spread(of, skip...).Each(dates(body.This()))),
		body.When(anonymous, body.Spread(of, append([]string{"anonymous_id"}, skip...)...).Each(dates(body.This()))),
		body.Together(more...),
	}
	if known != nil {
		ms = append(ms, body.When(known, body.Member("anonymous_id", anonymous.Text())))
	}
	return body.Always(body.Object(ms...))
}

// dates is a value with the dates in it as Unix times, if the user wants them so.
func dates(v body.Value) body.Node {
	return body.First(body.If(body.Outer("convert_timestamp").Is("true"), v.Deep("Unix times for ISO 8601 dates", false, appendUnix)), v)
}

// unix is a field that Customer.io wants to be a Unix time, whose text may be a date or the
// digits of one.
func unix(key string) body.Members {
	v := body.From(key).Filled()
	return body.Member(key, body.First(v.Matches(`^\d*$`).IsTime().Seconds(), dates(v)))
}

func appendUnix(dst []byte, v event.Value) []byte {
	if t, ok := date(v); ok {
		return strconv.AppendInt(dst, t.Unix(), 10)
	}
	return append(dst, v.Raw()...)
}

// date reads an ISO 8601 date, with or without a time and its zone, and nothing else that may
// be read as a time.
func date(v event.Value) (time.Time, bool) {
	b, plain := v.Plain()
	if !plain || len(b) < 10 || b[0]-'0' > 9 || b[4] != '-' || b[7] != '-' {
		return time.Time{}, false
	}
	layouts := [...]string{"2006-01-02", "2006-01-02T15:04:05Z07:00", "2006-01-02T15:04:05", "2006-01-02T15:04:05Z0700",
		"2006-01-02T15:04Z07:00", "2006-01-02T15:04", "2006-01-02T15:04Z0700"}
	may := layouts[:1]
	if len(b) > 10 {
		may = layouts[1:]
	}
	for _, layout := range may {
		if t, err := time.Parse(layout, string(b)); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}

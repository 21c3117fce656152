package eventgen

import (
	"fmt"
	"math/rand/v2"
	"strconv"
)

// DefaultVariety is how many event names [Options.Variety] stands for where somebody asks
// for variety and does not say how much.
const DefaultVariety = 300

// MostVariety is how many event names a stream may have: all of them are held in memory.
const MostVariety = 100_000

// A varied stream is what a company has that tracks a lot: hundreds of event names, each
// with properties of its own, some of which are there only now and then; three kinds of
// devices with contexts of their own; products in lists; names of all alphabets. Events
// of the same name still are alike, and a few names make most of the stream.

// plan is what one name of a varied stream carries.
type plan struct {
	event      string
	properties []planned
	products   bool
	shapes     [][]bool // which of the properties are there: an event is of one of these
}

// planned is one property.
type planned struct {
	key  string
	kind int // see Generator.planned
	n    int
}

var (
	verbs = []string{"Viewed", "Clicked", "Added", "Removed", "Started", "Completed", "Shared", "Updated", "Opened",
		"Closed", "Failed", "Searched", "Selected", "Submitted", "Dismissed", "Played", "Rated", "Invited", "Renewed",
		"Größe gewählt"}
	nouns = []string{"Banner", "Cart", "Checkout Step", "Coupon", "Filter", "Form", "Guide", "Invoice", "List", "Menu",
		"Message", "Onboarding", "Page Section", "Payment", "Plan", "Profile", "Promotion", "Quiz", "Report", "Review",
		"Route", "Seat", "Shipment", "Store", "Subscription", "Survey", "Team", "Ticket", "Trial", "Tour", "Video", "Voucher",
		"検索", "Wunschzettel", "Réservation"}
	words = []string{"source", "label", "position", "variant", "category", "list_id", "step", "method", "amount", "reason",
		"duration_ms", "score", "is_new", "retries", "currency", "campaign", "section", "element", "screen_name", "plan",
		"seats", "coupon", "result_count", "query", "rating", "error_code", "store_id", "sku", "quantity", "discount",
		"locale", "experiment", "feature", "größe", "farbe", "referrer_type", "payment_type", "shipping_tier", "trial_days",
		"cohort"}
	texts = []string{"hero", "left rail", "Über uns", "新着", "Frühling/Sommer", "a \"quoted\" word", "n/a", "wishlist",
		"sök", "тур", "XL", "cta_primary", "😀 new"}
)

// plans makes the names of a varied stream.
func plans(seed uint64, n int) []plan {
	r := rand.New(rand.NewPCG(seed, 0x76617269657479))
	out := make([]plan, n)
	for i := range out {
		name := nouns[i%len(nouns)] + " " + verbs[i/len(nouns)%len(verbs)]
		if more := i / len(nouns) / len(verbs); more > 0 {
			name += " " + strconv.Itoa(more+1)
		}
		p := plan{event: name, products: r.IntN(7) == 0}
		for _, w := range r.Perm(len(words))[:2+r.IntN(9)] {
			p.properties = append(p.properties, planned{key: words[w], kind: r.IntN(10), n: r.IntN(1000)})
		}
		for range 1 + r.IntN(3) {
			shape := make([]bool, len(p.properties))
			for k := range shape {
				shape[k] = k < 2 || r.IntN(3) > 0
			}
			p.shapes = append(p.shapes, shape)
		}
		out[i] = p
	}
	return out
}

// varied appends the event's name and properties of a varied stream.
func (g *Generator) varied(b []byte, currency string) []byte {
	r := g.rng
	f := r.Float64()
	p := &g.plans[int(f*f*f*float64(len(g.plans)))]
	b = append(b, `,"event":`...)
	b = quote(b, p.event)
	b = append(b, `,"properties":{`...)
	sep := false
	member := func(key string) {
		if sep {
			b = append(b, ',')
		}
		sep = true
		b = append(quote(b, key), ':')
	}
	shape := p.shapes[r.IntN(len(p.shapes))]
	for i := range p.properties {
		if shape[i] {
			member(p.properties[i].key)
			b = g.planned(b, &p.properties[i])
		}
	}
	if p.products {
		member("products")
		b = append(b, '[')
		for k := range 1 + r.IntN(3) {
			if k > 0 {
				b = append(b, ',')
			}
			b = append(b, '{')
			b = product(b, &products[r.IntN(len(products))], 1+r.IntN(2), k+1)
			b = append(b, '}')
		}
		b = append(b, `],"currency":"`+currency+`"`...)
	}
	return append(b, '}')
}

// planned appends the value of a property.
func (g *Generator) planned(b []byte, p *planned) []byte {
	r := g.rng
	switch p.kind {
	case 0, 1, 2:
		return quote(b, texts[(p.n+r.IntN(3))%len(texts)])
	case 3:
		return strconv.AppendInt(b, int64(r.IntN(1+p.n)), 10)
	case 4:
		return append(b, cents(int64(r.IntN(100+p.n*10)))...)
	case 5:
		return strconv.AppendBool(b, r.IntN(2) == 0)
	case 6:
		b = append(b, `["`...)
		b = append(b, words[p.n%len(words)]...)
		return append(b, `","märz"]`...)
	case 7:
		b = append(b, `{"id":`...)
		b = strconv.AppendInt(b, int64(r.IntN(1<<30)), 10)
		b = append(b, `,"name":`...)
		b = quote(b, texts[p.n%len(texts)])
		return append(b, `,"meta":{"level":2,"flags":[true,false]}}`...)
	case 8:
		return fmt.Appendf(b, `"%08x-%04x-4%03x-a%03x-%012x"`, r.Uint32(), r.Uint32()&0xffff, r.Uint32()&0xfff,
			r.Uint32()&0xfff, r.Uint64()&0xffffffffffff)
	}
	return strconv.AppendUint(b, 1<<60+r.Uint64()>>8, 10)
}

// variedContext appends what only some events of a varied stream have beside the others:
// which of it, is up to the user's device.
func (g *Generator) variedContext(b []byte, u int) []byte {
	switch u / 3 % 12 {
	case 0:
		b = append(b, `,"traits":{"email":"user-`...)
		b = strconv.AppendInt(b, int64(u), 10)
		b = append(b, `@mail.example","plan":"pro"}`...)
	case 1, 2:
		b = append(b, `,"groupId":"org-`...)
		b = strconv.AppendInt(b, int64(u%40), 10)
		b = append(b, '"')
	case 3:
		b = append(b, `,"userAgentData":{"mobile":false,"platform":"macOS","brands":[{"brand":"Chromium","version":"124"}]}`...)
	case 4:
		b = append(b, `,"sessionId":17`...)
		b = strconv.AppendInt(b, int64(10000000+u), 10)
	}
	return b
}

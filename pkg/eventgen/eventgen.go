// Package eventgen writes made-up but realistic streams of Segment-spec
// events: the sample archives under cassettes/events, the input of benchmarks,
// and whatever a test needs by the million.
//
// A stream is a pure function of its [Options]: the same seed gives the same
// bytes on every machine. The mix follows what a shop with a web site and two
// mobile apps sends: about 70 % track, 12 % page, 8 % identify, 7 % screen,
// 3 % group and 1 % alias, 1.2 KB an event, from a set of users of whom a few
// are far busier than the rest; one event in twenty arrives late.
//
// [Options.Variety] makes it the stream of a company that tracks a lot: hundreds of event
// names, optional and nested properties, thousands of forms.
//
// Clean streams hold nothing that a partner would refuse. [Options.Messy]
// adds what real archives also hold: repeated messageIds, broken and over-long
// lines, types that no specification knows, values of the wrong type.
package eventgen

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"strconv"
	"time"
)

// Options say which stream to write.
type Options struct {
	Seed   uint64
	Events int       // how many events; broken lines of a messy stream come on top
	Start  time.Time // time of the first event; zero: 2024-03-01T00:00:00Z
	Step   time.Duration
	// Users is the number of distinct users; 0: one for every five events.
	Users int
	Messy bool
	// Variety is how many event names there are, each with properties of its own, of
	// which some are optional; 0: a uniform stream, whose events have few forms.
	Variety int
	// LongLine is the length in bytes of the over-long line of a messy
	// stream; 0: none.
	LongLine int
}

// Generator appends one event after another. It is not safe for concurrent
// use.
type Generator struct {
	opt  Options
	rng  *rand.Rand
	n    int
	ids  []string // recent messageIds, for repeats
	base int64    // Unix milliseconds of the first event
	step int64

	plans []plan // of a varied stream
}

// New returns a generator for the stream that opt describes.
func New(opt Options) *Generator {
	if opt.Start.IsZero() {
		opt.Start = time.Date(2024, 3, 1, 0, 0, 0, 0, time.UTC)
	}
	if opt.Step == 0 {
		opt.Step = 1700 * time.Millisecond
	}
	if opt.Users <= 0 {
		opt.Users = max(20, opt.Events/5)
	}
	return &Generator{
		opt: opt, rng: rand.New(rand.NewPCG(opt.Seed, 0x66616e666f6c64)),
		base: opt.Start.UnixMilli(), step: opt.Step.Milliseconds(), plans: plans(opt.Seed, opt.Variety),
	}
}

// Write writes the whole stream to w, one event a line.
func Write(w io.Writer, opt Options) error {
	g := New(opt)
	bw := bufio.NewWriterSize(w, 1<<20)
	var line []byte
	for i := range opt.Events {
		line = g.Append(line[:0])
		if opt.Messy {
			line = g.spoil(line, i)
		}
		line = append(line, '\n')
		if _, err := bw.Write(line); err != nil {
			return fmt.Errorf("writing event %d: %w", i, err)
		}
	}
	return bw.Flush()
}

var (
	firstNames = []string{"Eva", "Jürgen", "Zoë", "María José", "Łukasz", "Nguyễn", "李", "Олена", "Fatima", "Sam", "Ana",
		"Björn", "Chloé", "Dmitri", "さくら", "Kwame"}
	lastNames = []string{"Muster", "Müller", "Ó Briain", "García", "Wójcik", "Văn An", "小龙", "Шевченко", "al-Sayed",
		"Smith", "Sørensen", "Dupont", "Okafor", "田中"}
	products = []struct {
		id, sku, name, brand, category string
		cents                          int64
	}{
		{"507f1f77bcf86cd799439011", "TENT-2P-GRN", "Zelt „Fjäll“ 2P", "Fjällräven", "Camping/Tents", 28950},
		{"507f1f77bcf86cd799439012", "MAT-1", "Sleeping mat", "Exped", "Camping/Mats", 4900},
		{"507f1f77bcf86cd799439013", "STOVE-7", "Réchaud à gaz", "Primus", "Camping/Kitchen", 6499},
		{"507f1f77bcf86cd799439014", "BOOT-42", "Wanderstiefel 42", "Meindl", "Footwear", 21900},
		{"507f1f77bcf86cd799439015", "LAMP-3", "ヘッドランプ Tikka", "Petzl", "Lights", 3795},
		{"507f1f77bcf86cd799439016", "ROPE-60", "Rope 60 m \"dry\"", "Mammut", "Climbing", 18950},
		{"507f1f77bcf86cd799439017", "BAG-30", "Plecak 30 l", "Deuter", "Packs", 11900},
		{"507f1f77bcf86cd799439018", "CUP-1", "Emaille-Tasse", "Enamel & Co", "Camping/Kitchen", 995},
	}
	cities = []city{
		{"Berlin", "DE", "BE", "Europe/Berlin", "de-DE", "81.2.69.142", "EUR"},
		{"Zürich", "CH", "ZH", "Europe/Zurich", "de-CH", "89.160.20.112", "CHF"},
		{"Lyon", "FR", "ARA", "Europe/Paris", "fr-FR", "2.125.160.216", "EUR"},
		{"São Paulo", "BR", "SP", "America/Sao_Paulo", "pt-BR", "189.6.1.14", "BRL"},
		{"Austin", "US", "TX", "America/Chicago", "en-US", "216.160.83.56", "USD"},
		{"Kraków", "PL", "MA", "Europe/Warsaw", "pl-PL", "175.16.199.7", "PLN"},
		{"大阪", "JP", "27", "Asia/Tokyo", "ja-JP", "202.196.224.9", "JPY"},
	}
	webAgents = []string{
		"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/124.0.0.0 " +
			"Safari/537.36",
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:125.0) Gecko/20100101 Firefox/125.0",
		"Mozilla/5.0 (iPhone; CPU iPhone OS 17_4 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.4 " +
			"Mobile/15E148 Safari/604.1",
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/123.0.0.0 Safari/537.36 " +
			"Edg/123.0.2420.97",
	}
	phones = []struct{ maker, model, name, os, version, lib string }{
		{"Apple", "iPhone15,2", "iPhone", "iOS", "17.4.1", "analytics-swift"},
		{"samsung", "SM-S911B", "dm1q", "Android", "14", "analytics-kotlin"},
		{"Google", "Pixel 8", "shiba", "Android", "14", "analytics-kotlin"},
	}
	customEvents = []string{"Button Clicked", "Wishlist Shared", "Search Refined", "Guide Read", "Experiment Viewed",
		"Support Chat Opened"}
	pages     = []string{"Home", "Tents", "Checkout", "Über uns", "Guide: Zelten im März", "Account"}
	companies = []string{"Acme Outdoor GmbH", "Bergsport Süd", "Trail & Co", "株式会社やま"}
)

// Append appends the next event, without a line end.
func (g *Generator) Append(b []byte) []byte {
	i := g.n
	g.n++
	r := g.rng
	// A few users make most of the noise: the square of a uniform number.
	f := r.Float64()
	u := int(f * f * float64(g.opt.Users))
	at := g.base + int64(i)*g.step
	if r.IntN(20) == 0 { // late or out of order: up to six hours back
		at -= int64(r.IntN(6 * 3600 * 1000))
	}
	kind := r.IntN(1000)
	mobile := u%3 == 2
	place := &cities[u%len(cities)]
	known := u%4 != 3 // three in four users have logged in

	typ := typeOf(kind, mobile)
	known = known || typ == "identify" || typ == "group" || typ == "alias"
	b = append(b, `{"type":"`...)
	b = append(b, typ...)
	b = append(b, `","messageId":"`...)
	b = append(b, g.messageID(at)...)
	b = append(b, '"')
	b = appendTime(b, "timestamp", at)
	b = appendTime(b, "originalTimestamp", at-int64(r.IntN(40)))
	b = appendTime(b, "sentAt", at+int64(r.IntN(900)))
	b = appendTime(b, "receivedAt", at+900+int64(r.IntN(2000)))
	b = append(b, `,"anonymousId":"`...)
	b = appendAnonymous(b, u)
	b = append(b, '"')
	if known {
		b = append(b, `,"userId":"user-`...)
		b = strconv.AppendInt(b, int64(u), 10)
		b = append(b, '"')
	}

	b = g.body(b, typ, u, place)
	b = g.context(b, u, mobile, place.tz, place.locale, place.ip, place.city, place.country)
	return append(b, `,"integrations":{},"channel":"client","version":2}`...)
}

// city is where a user is.
type city struct{ city, country, region, tz, locale, ip, currency string }

// typeOf is the type of a call, of which so many in a thousand are of each.
func typeOf(kind int, mobile bool) string {
	switch {
	case kind < 698:
		return "track"
	case kind < 880:
		if mobile {
			return "screen"
		}
		return "page"
	case kind < 960:
		return "identify"
	case kind < 990:
		return "group"
	}
	return "alias"
}

// messageID makes an id; of a messy stream, sometimes one that was there before.
func (g *Generator) messageID(at int64) []byte {
	r := g.rng
	id := fmt.Appendf(nil, "ajs-next-%d-%08x-%04x-4%03x-a%03x-%012x", at, r.Uint32(), r.Uint32()&0xffff, r.Uint32()&0xfff,
		r.Uint32()&0xfff, r.Uint64()&0xffffffffffff)
	if !g.opt.Messy {
		return id
	}
	if len(g.ids) > 50 && r.IntN(25) == 0 {
		return append(id[:0], g.ids[r.IntN(len(g.ids))]...)
	}
	g.ids = append(g.ids, string(id))
	if len(g.ids) > 500 {
		g.ids = g.ids[250:]
	}
	return id
}

// body appends what a call of a type has of its own.
func (g *Generator) body(b []byte, typ string, u int, place *city) []byte {
	switch typ {
	case "track":
		// A varied stream has the events that everybody has, too.
		if len(g.plans) > 0 && g.rng.IntN(8) > 0 {
			b = g.varied(b, place.currency)
		} else {
			b = g.track(b, u, place.currency)
		}
	case "page", "screen":
		b = g.page(b, typ)
	case "identify":
		b = append(b, `,"traits":`...)
		b = g.traits(b, u, place.city, place.country, place.region)
	case "group":
		b = appendGroup(b, u)
	case "alias":
		b = append(b, `,"previousId":"`...)
		b = appendAnonymous(b, u)
		b = append(b, '"')
	}
	return b
}

func (g *Generator) page(b []byte, typ string) []byte {
	r := g.rng
	p := pages[r.IntN(len(pages))]
	b = append(b, `,"name":`...)
	b = quote(b, p)
	b = append(b, `,"properties":{"name":`...)
	b = quote(b, p)
	if typ == "page" {
		b = append(b, `,"path":"/`...)
		b = strconv.AppendInt(b, int64(r.IntN(400)), 36)
		b = append(b, `","url":"https://shop.example.com/`...)
		b = strconv.AppendInt(b, int64(r.IntN(400)), 36)
		b = append(b, `?utm_source=news&q=z%C3%BCrich","referrer":"https://www.example.org/","title":`...)
		b = quote(b, p+" – Shop")
	}
	b = append(b, `,"loaded_ms":`...)
	b = strconv.AppendInt(b, int64(80+r.IntN(2500)), 10)
	b = append(b, '}')
	return b
}

func appendGroup(b []byte, u int) []byte {
	c := companies[u%len(companies)]
	b = append(b, `,"groupId":"org-`...)
	b = strconv.AppendInt(b, int64(u%len(companies)), 10)
	b = append(b, `","traits":{"name":`...)
	b = quote(b, c)
	b = append(b, `,"plan":"team","employees":`...)
	b = strconv.AppendInt(b, int64(10+u%900), 10)
	b = append(b, `,"industry":"outdoor","website":"https://org.example.com"}`...)
	return b
}

func (g *Generator) track(b []byte, u int, currency string) []byte {
	r := g.rng
	p := &products[r.IntN(len(products))]
	switch n := r.IntN(100); {
	case n < 35:
		b = append(b, `,"event":"Product Viewed","properties":{`...)
		b = product(b, p, 1+r.IntN(3), 1)
		b = append(b, `,"currency":"`...)
		b = append(b, currency...)
		return append(b, `","value":`+cents(p.cents)+`}`...)
	case n < 55:
		b = append(b, `,"event":"Product Added","properties":{"cart_id":"c-`...)
		b = strconv.AppendInt(b, int64(u), 36)
		b = append(b, `",`...)
		b = product(b, p, 1+r.IntN(3), 1)
		b = append(b, `,"currency":"`...)
		b = append(b, currency...)
		return append(b, `"}`...)
	case n < 62:
		var total int64
		items := 1 + r.IntN(4)
		b = append(b, `,"event":"Order Completed","properties":{"order_id":"O-`...)
		b = strconv.AppendInt(b, int64(g.n), 10)
		b = append(b, `","checkout_id":"C-`...)
		b = strconv.AppendInt(b, int64(g.n), 36)
		b = append(b, `","affiliation":"Web","products":[`...)
		for k := range items {
			p := &products[r.IntN(len(products))]
			q := 1 + r.IntN(2)
			total += p.cents * int64(q)
			if k > 0 {
				b = append(b, ',')
			}
			b = append(b, '{')
			b = product(b, p, q, k+1)
			b = append(b, '}')
		}
		b = append(b, `],"revenue":`+cents(total)...)
		b = append(b, `,"shipping":4.9,"tax":`+cents(total/5)...)
		b = append(b, `,"total":`+cents(total+490+total/5)...)
		b = append(b, `,"coupon":"HERBST","currency":"`...)
		b = append(b, currency...)
		return append(b, `"}`...)
	case n < 75:
		b = append(b, `,"event":"Products Searched","properties":{"query":`...)
		b = quote(b, p.name)
		b = append(b, `,"results":`...)
		b = strconv.AppendInt(b, int64(r.IntN(300)), 10)
		return append(b, `,"filters":["in stock","size:M"],"session_id":1843792847219384721}`...)
	default:
		e := customEvents[r.IntN(len(customEvents))]
		b = append(b, `,"event":"`...)
		b = append(b, e...)
		b = append(b, `","properties":{"label":"cta `...)
		b = strconv.AppendInt(b, int64(r.IntN(50)), 10)
		b = append(b, `","position":`...)
		b = strconv.AppendInt(b, int64(r.IntN(12)), 10)
		b = append(b, `,"score":0.`...)
		b = strconv.AppendInt(b, int64(1+r.IntN(99)), 10)
		b = append(b, `,"variant":"`...)
		b = append(b, "ABC"[r.IntN(3)])
		return append(b, `","beta":true,"note":null,"tags":["new","märz"],"nested":{"depth":{"level":2,"flags":[true,false]}}}`...)
	}
}

func product(b []byte, p *struct {
	id, sku, name, brand, category string
	cents                          int64
}, quantity, position int) []byte {
	b = append(b, `"product_id":"`...)
	b = append(b, p.id...)
	b = append(b, `","sku":"`...)
	b = append(b, p.sku...)
	b = append(b, `","name":`...)
	b = quote(b, p.name)
	b = append(b, `,"brand":`...)
	b = quote(b, p.brand)
	b = append(b, `,"category":"`...)
	b = append(b, p.category...)
	b = append(b, `","price":`...)
	b = append(b, cents(p.cents)...)
	b = append(b, `,"quantity":`...)
	b = strconv.AppendInt(b, int64(quantity), 10)
	b = append(b, `,"position":`...)
	b = strconv.AppendInt(b, int64(position), 10)
	b = append(b, `,"image_url":"https://img.example.com/`...)
	b = append(b, p.sku...)
	return append(b, `.jpg"`...)
}

func (g *Generator) traits(b []byte, u int, city, country, region string) []byte {
	first, last := firstNames[u%len(firstNames)], lastNames[u/3%len(lastNames)]
	b = append(b, `{"email":"user-`...)
	b = strconv.AppendInt(b, int64(u), 10)
	b = append(b, `@mail.example","firstName":`...)
	b = quote(b, first)
	b = append(b, `,"lastName":`...)
	b = quote(b, last)
	b = append(b, `,"name":`...)
	b = quote(b, first+" "+last)
	b = append(b, `,"phone":"+4930901820`...)
	b = strconv.AppendInt(b, int64(10+u%90), 10)
	b = append(b, `","plan":"`...)
	b = append(b, []string{"free", "team", "pro"}[u%3]...)
	b = append(b, `","logins":`...)
	b = strconv.AppendInt(b, int64(1+u%200), 10)
	b = append(b, `,"address":{"city":`...)
	b = quote(b, city)
	b = append(b, `,"country":"`...)
	b = append(b, country...)
	b = append(b, `","state":"`...)
	b = append(b, region...)
	b = append(b, `","postalCode":"`...)
	b = strconv.AppendInt(b, int64(10000+u%89999), 10)
	return append(b, `"},"createdAt":"2023-01-15T08:30:00.000Z","newsletter":true}`...)
}

func (g *Generator) context(b []byte, u int, mobile bool, tz, locale, ip, city, country string) []byte {
	b = append(b, `,"context":{`...)
	if mobile {
		p := phones[u%len(phones)]
		b = append(b, `"library":{"name":"`+p.lib+
			`","version":"1.16.3"},"app":{"name":"Shop","namespace":"com.example.shop","version":"5.2.`...)
		b = strconv.AppendInt(b, int64(u%9), 10)
		b = append(b, `","build":"5204"},"device":{"id":"`...)
		b = appendAnonymous(b, u+7)
		b = append(b, `","manufacturer":"`+p.maker+`","model":"`+p.model+`","name":"`+p.name+`","type":"`...)
		if p.os == "iOS" {
			b = append(b, "ios"...)
		} else {
			b = append(b, "android"...)
		}
		b = append(b, `","adTrackingEnabled":false},"os":{"name":"`+p.os+`","version":"`+p.version+
			`"},"network":{"bluetooth":false,"carrier":"Telekom.de","cellular":true,"wifi":false},"screen":{"width":1179,"height":2556,"density":3}`...)
	} else {
		b = append(b, `"library":{"name":"analytics.js","version":"next-1.70.0"},"userAgent":"`...)
		b = append(b, webAgents[u%len(webAgents)]...)
		b = append(b, `","page":{"path":"/products/`...)
		b = strconv.AppendInt(b, int64(u%60), 36)
		b = append(b, `","referrer":"https://www.example.org/search","search":"?utm_source=news","title":"Zelte & more","url":"https://shop.example.com/products/`...)
		b = strconv.AppendInt(b, int64(u%60), 36)
		b = append(b, `?utm_source=news"},"campaign":{"name":"autumn","source":"news","medium":"email","term":"tent","content":"hero"}`...)
	}
	b = append(b, `,"ip":"`+ip+`","locale":"`+locale+`","timezone":"`+tz+`","location":{"city":`...)
	b = quote(b, city)
	b = append(b, `,"country":"`+country+`"}`...)
	if len(g.plans) > 0 {
		b = g.variedContext(b, u)
	}
	return append(b, '}')
}

// spoil turns some lines of a messy stream into what real archives hold.
func (g *Generator) spoil(line []byte, i int) []byte {
	if g.opt.LongLine > 0 && i == g.opt.Events/3 {
		long := append([]byte(`{"type":"track","event":"Too Long","messageId":"long-1","userId":"user-1","properties":{"blob":"`), make([]byte, g.opt.LongLine)...)
		for k := len(long) - g.opt.LongLine; k < len(long); k++ {
			long[k] = 'x'
		}
		return append(append(append(long, `"}}`...), '\n'), line...)
	}
	switch g.rng.IntN(60) {
	case 0: // cut short
		return line[:len(line)/2]
	case 1: // a trailing comma
		return append(line[:len(line)-1], ",}"...)
	case 2: // not JSON at all
		return append(line[:0], "2024-03-01 00:00:00 ERROR upstream timed out"...)
	case 3: // JSON, but no event
		return append(line[:0], `["a","b",3]`...)
	case 4:
		return append(line[:0], `{"status":"ok","rows":12}`...)
	case 5: // a type of somebody's own
		return append(line[:0], `{"type":"heartbeat","messageId":"hb-`+strconv.Itoa(i)+
			`","timestamp":"2024-03-01T00:00:00Z","userId":"user-1"}`...)
	case 6: // members of odd types
		return append(line[:0], `{"type":"track","event":42,"messageId":`+strconv.Itoa(i)+
			`,"timestamp":1709251200,"userId":12345678901234567890,"properties":[1,2],"context":null}`...)
	case 7: // nobody's event
		return append(line[:0], `{"type":"track","event":"Orphan","messageId":"orphan-`+strconv.Itoa(i)+
			`","timestamp":"2024-03-01T00:00:00.000Z","properties":{"lone":"\ud83d","dup":1,"dup":2}}`...)
	case 8: // blank line and CRLF
		return append(append([]byte("\r\n"), line...), '\r')
	}
	return line
}

func appendTime(b []byte, key string, ms int64) []byte {
	b = append(b, `,"`...)
	b = append(b, key...)
	b = append(b, `":"`...)
	b = time.UnixMilli(ms).UTC().AppendFormat(b, "2006-01-02T15:04:05.000Z")
	return append(b, '"')
}

func appendAnonymous(b []byte, u int) []byte {
	h := uint64(u+1) * 0x9e3779b97f4a7c15
	return fmt.Appendf(b, "%08x-%04x-4%03x-9%03x-%012x", uint32(h), uint16(h>>32), uint16(h>>40)&0xfff,
		uint16(h>>20)&0xfff, h>>16)
}

// cents writes an amount of money as a JSON number without rounding.
func cents(c int64) string {
	return strconv.FormatInt(c/100, 10) + "." + string([]byte{'0' + byte(c/10%10), '0' + byte(c%10)})
}

// quote writes s as a JSON string; the strings of this package hold no control
// characters.
func quote(b []byte, s string) []byte {
	b = append(b, '"')
	for i := 0; i < len(s); i++ {
		if s[i] == '"' || s[i] == '\\' {
			b = append(b, '\\')
		}
		b = append(b, s[i])
	}
	return append(b, '"')
}

package api

import (
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
	"golang.org/x/net/http/httpguts"

	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/setting"
)

// authentication is how the API knows who is calling: kinds, each with what it needs.
type authentication struct {
	fields  []setting.Field // of a user who has no description of that
	secrets []string        // settings that are secrets, since they stand in it
	parts   []authPart
}

// authPart is one kind, with what it is told.
type authPart struct {
	kind   string
	values map[string]template
	// own says that the values are settings that a user may leave away: then the part is.
	own bool
}

// AuthKinds are the kinds of auth, and what each is told, "" being its own value; the last of it is
// the secret.
func AuthKinds() map[string][]string {
	return map[string][]string{
		"bearer": {""}, "basic": {"user", "password"}, "header": {"name", "value"}, "query": {"name", "value"},
		"hmac": {"header", "secret"}, "webhook": {""},
	}
}

// kindNames are the kinds in the order of the documentation.
func kindNames() []string { return []string{"bearer", "basic", "header", "query", "hmac", "webhook"} }

// ownAuth is that of a description which says nothing of it: the user does, in settings such
// as auth.bearer.
func ownAuth() (a authentication) {
	docs := map[string]string{
		"auth.bearer":     "Token in the header Authorization.",
		"auth.basic.user": "User of basic authentication.", "auth.basic.password": "Password of basic authentication.",
		"auth.header.name": "Header that holds a secret.", "auth.header.value": "The secret in that header.",
		"auth.query.name": "Parameter of the query that holds a secret.", "auth.query.value": "The secret in the query.",
		"auth.hmac.header": "Header of the signature.", "auth.hmac.secret": "Signs the body: hex HMAC-SHA-256 in a header.",
		"auth.webhook": "Signs as Standard Webhooks has it: base64 behind whsec_.",
	}
	for _, kind := range kindNames() {
		part := authPart{kind: kind, values: map[string]template{}, own: true}
		told := AuthKinds()[kind]
		for i, what := range told {
			key := strings.TrimSuffix("auth."+kind+"."+what, ".")
			part.values[what] = template{{name: "settings." + key}}
			f := setting.Field{Key: key, Type: "text", Doc: docs[key], Transport: true}
			if key == "auth.hmac.header" {
				f.Default = "X-Signature"
			}
			a.fields = append(a.fields, f)
			if i == len(told)-1 {
				a.secrets = append(a.secrets, key)
			}
		}
		a.parts = append(a.parts, part)
	}
	return a
}

// readAuth reads the description of it.
func (r *reader) readAuth(n *yaml.Node) {
	if n == nil {
		return
	}
	r.table(n, "auth", kindNames(), func(kind string, k, v *yaml.Node) {
		part := authPart{kind: kind, values: map[string]template{}}
		told := AuthKinds()[kind]
		take := func(what string, v *yaml.Node) {
			t, err := parse(r.text(v, "auth: "+kind))
			for _, name := range t.names() {
				key, is := strings.CutPrefix(name, "settings.")
				at := slices.IndexFunc(r.schema.Fields, func(f setting.Field) bool { return f.Key == key })
				switch {
				case err != nil:
				case !is || at < 0:
					err = fmt.Errorf("{{%s}} is no setting of the description", name)
				case what == told[len(told)-1]:
					r.auth.secrets = append(r.auth.secrets, key)
				}
			}
			if empty := kind == "basic" && len(t) == 0; err == nil && what == told[len(told)-1] && len(t.names()) == 0 &&
				!empty {
				err = fmt.Errorf("a secret does not stand in a description: declare a setting, and write {{settings.NAME}}")
			}
			if err != nil {
				r.add(v, "auth: %s: %v", kind, err)
			}
			part.values[what] = t
		}
		if len(told) == 1 {
			take("", v)
		} else {
			r.table(v, "auth: "+kind, told, func(what string, _, v *yaml.Node) { take(what, v) })
			for _, what := range told {
				if _, said := part.values[what]; len(part.values[what]) == 0 && what != "password" && what != "header" &&
					!(said && what == "user") { // which may be empty
					r.add(k, "auth: %s has no %s", kind, what)
				}
			}
		}
		if kind == "basic" && len(part.values["password"]) == 0 { // then the user is the secret
			r.auth.secrets = append(r.auth.secrets, settingsIn(part.values["user"])...)
			if len(part.values["user"].names()) == 0 {
				r.add(v, "auth: basic: a secret does not stand in a description: declare a setting, and write {{settings.NAME}}")
			}
		}
		r.auth.parts = append(r.auth.parts, part)
	})
	if list := r.auth.authorize(); len(list) > 1 {
		r.add(n, "auth: %s all say the header Authorization, and one of them would win: take the others out",
			strings.Join(list, " and "))
	}
}

// settingsIn are the settings in a template.
func settingsIn(t template) (keys []string) {
	for _, name := range t.names() {
		keys = append(keys, strings.TrimPrefix(name, "settings."))
	}
	return keys
}

// authorize are the kinds that say the header Authorization.
func (a authentication) authorize() (kinds []string) {
	for _, p := range a.parts {
		name := p.values["name"]
		if !p.own && (p.kind == "bearer" || p.kind == "basic" || p.kind == "header" && len(name) == 1 &&
			strings.EqualFold(name[0].text, "Authorization")) {
			kinds = append(kinds, p.kind)
		}
	}
	return kinds
}

// of is the authentication with a user's settings.
func (a authentication) of(value func(key string) string) (auth destination.Auth, errs []error) {
	says := "" // the setting that says the header Authorization
	for _, p := range a.parts {
		told := AuthKinds()[p.kind]
		say := func(what, msg string) {
			key := strings.TrimSuffix("auth."+p.kind+"."+what, ".")
			if !p.own {
				key = strings.TrimPrefix(strings.Join(p.values[what].names(), " "), "settings.")
			}
			errs = append(errs, &setting.Problem{Key: key, Msg: msg})
		}
		first, last := p.values[told[0]].filled(value), p.values[told[len(told)-1]].filled(value)
		switch {
		case p.own && last == "" && (len(told) == 1 || first == "" || p.kind == "hmac"):
			continue // the user has another
		case p.own && p.kind != "basic" && last == "":
			say(told[len(told)-1], "is missing, and "+told[0]+" is set")
			continue
		case p.own && first == "" && p.kind != "basic": // whose user may be empty
			say(told[0], "is missing, and "+told[len(told)-1]+" is set")
			continue
		}
		if own := "auth." + p.kind; p.own && (p.kind == "bearer" || p.kind == "basic" ||
			p.kind == "header" && strings.EqualFold(first, "Authorization")) {
			if says != "" {
				say(told[len(told)-1], "says the header Authorization, as "+says+" does: take one of them out")
				continue
			}
			says = own
		}
		switch p.kind {
		case "bearer":
			auth = auth.And(destination.Bearer(last))
		case "basic":
			auth = auth.And(destination.Basic(first, last))
		case "header":
			if msg := headerName(first); msg != "" {
				say("name", msg)
				continue
			}
			auth = auth.And(destination.HeaderAuth(first, last))
		case "query":
			auth = auth.And(destination.QueryAuth(first, last))
		case "hmac":
			if first == "" {
				first = "X-Signature"
			}
			if !httpguts.ValidHeaderFieldName(first) {
				say("header", "has to be the name of a header, like X-Signature")
				continue
			}
			auth = auth.And(destination.SignBody(first, last))
		case "webhook":
			sign, err := destination.SignWebhook(last)
			if err != nil {
				say("", err.Error())
				continue
			}
			auth = auth.And(sign)
		}
	}
	return auth, errs
}

// signs says that requests are signed as Standard Webhooks has it.
func (a authentication) signs(value func(key string) string) bool {
	return slices.ContainsFunc(a.parts, func(p authPart) bool {
		return p.kind == "webhook" && p.values[""].filled(value) != ""
	})
}

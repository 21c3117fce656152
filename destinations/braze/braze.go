// Package braze delivers to Braze: profiles, events and purchases through
// /users/track, identities and messages through their own endpoints.
package braze

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/fanfold/fanfold/pkg/body"
	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/field"
	"github.com/fanfold/fanfold/pkg/mapping"
)

// Settings of a workspace.
type Settings struct {
	APIKey   string `setting:"api_key,required,secret,transport" doc:"REST API key with the permissions users.track, users.alias.new and users.identify." example:"01234567-89ab-cdef-0123-456789abcdef"`
	AppID    string `setting:"app_id" doc:"App that events and purchases belong to."`
	Endpoint string `setting:"endpoint,transport" doc:"REST endpoint of the workspace's instance, or the instance alone: us-01 to us-10, eu-01, eu-02, au-01, id-01, jp-01." default:"https://rest.iad-01.braze.com"`
}

const (
	trackDocs    = "https://www.braze.com/docs/api/endpoints/user_data/post_user_track/"
	limitDocs    = "https://www.braze.com/docs/api/api_limits/"
	aliasDocs    = "https://www.braze.com/docs/api/endpoints/user_data/post_user_alias/"
	whoDocs      = "https://www.braze.com/docs/api/endpoints/user_data/post_user_identify/"
	purchaseDocs = "https://www.braze.com/docs/api/objects_filters/purchase_object/"
	eventDocs    = "https://www.braze.com/docs/api/objects_filters/event_object/"
	catalogDocs  = "https://www.braze.com/docs/api/endpoints/catalogs/catalog_items/asynchronous/put_update_catalog_items/"
	shopDocs     = "https://www.braze.com/docs/user_guide/data/activation/custom_data/recommended_events/ecommerce_events"
	sendDocs     = "https://www.braze.com/docs/api/endpoints/messaging/send_messages/post_send_triggered_campaigns/"
)

// New declares the destination.
func New() destination.Destination {
	return destination.Spec[Settings]{
		Info: destination.Info{
			Slug: "braze", Name: "Braze", Summary: "customer engagement", Docs: trackDocs,
			Integrations: []string{"Braze Cloud Mode (Actions)", "Appboy"},
			Backfill: "Events and purchases of any age are kept with their own time; profiles are set to what the event " +
				"says, in the order of delivery. Braze has no switch for history: campaigns and canvases that an event, a " +
				"purchase or a changed attribute triggers may start, so pause them. It drops no repeats: an event sent twice " +
				"counts twice.",
			Differences: destination.Differences(
				"source, variant_id, product_id and currency of e-commerce events are also looked for elsewhere (the page, the "+
					"app or the library; sku and product_id; in capitals), and an event that still lacks something is sent as the "+
					"plain event that it is", shopDocs,
				"up to 50 aliases share a request, and catalog_name is a field: Segment makes the catalog", aliasDocs,
				"the products of orders, and the events of several users, share requests of up to "+
					"75", limitDocs+"#batch-user-track",
				"time is the event's own, not when Segment received it", eventDocs,
				"an event or product whose name has more than 255 characters or whose properties have more than 50 KB is not "+
					"sent, because Braze refuses it", eventDocs,
			),
		},
		BaseURL: func(s *Settings) string { return endpoint(s.Endpoint) },
		Auth:    func(s *Settings) destination.Auth { return destination.Bearer(s.APIKey) },
		Check: func(s *Settings) []error {
			if !ours.MatchString(endpoint(s.Endpoint)) {
				return []error{fmt.Errorf("endpoint: %q is no REST endpoint of Braze, such as https://rest.iad-01.braze.com, "+
					"nor an instance, such as us-01", s.Endpoint)}
			}
			return nil
		},
		Limits: destination.Limits{
			Rates:       destination.Rates(limitDocs, "3000/3s"),
			BatchEvents: destination.Cap{N: 75, Docs: limitDocs + "#batch-user-track"},
			BatchBytes:  destination.Cap{N: 4_000_000, Docs: "https://www.braze.com/docs/api/errors/"},
			EventBytes:  destination.Cap{N: 3_900_000, Docs: "https://www.braze.com/docs/api/errors/"},
		},
		Order:   true,
		Success: success(),
		Live:    destination.Live{Does: "may start the campaigns and canvases that wait for it", Docs: trackDocs},
		Actions: actions(),
		Presets: []destination.Preset{
			{Name: "Track Calls", Action: "trackEvent",
				Subscribe: destination.CalledOtherwise("Order Completed", "Checkout Started", "Order Refunded", "Order Cancelled",
					"Product Viewed", "Product Added", "Product Removed")},
			shopPreset("Order Placed (beta)", "Order Completed", about(placed, "order_status_url")),
			shopPreset("Checkout Started (beta)", "Checkout Started", about(checkout, "checkout_url")),
			shopPreset("Order Refunded (beta)", "Order Refunded", about(refunded, "order_status_url")),
			shopPreset("Order Cancelled (beta)", "Order Cancelled", about(cancelled, "order_status_url")),
			{Name: "Product Viewed (beta)", Action: "ecommerceSingleProduct", Subscribe: `event = "Product Viewed"`,
				Mapping: mapping.Lines(`name = "` + viewed + `"`), Otherwise: "trackEvent"},
			shopPreset("Product Added (beta)", "Product Added", carted("add")),
			shopPreset("Product Removed (beta)", "Product Removed", carted("remove")),
			{Name: "Identify Calls", Action: "updateUserProfile", Subscribe: `type = "identify"`},
		},
	}.Destination()
}

// actions are what the partner can be told.
func actions() destination.Actions {
	return destination.Actions{
		profile("updateUserProfile", "Update user profile", existingOnly()).Doc("Sets attributes of a profile."),
		occurrence("trackEvent", "Track event", existingOnly()).Doc("A custom event."),
		purchase("trackPurchase", "Track purchase", existingOnly()).Doc("A purchase for each product of an order."),
		newAlias("createAlias", "Create alias").Doc("Gives a user, known or not, an alias."),
		identify("identifyUser", "Identify user", body.Together(knownByAlias()),
			field.Object("user_alias", alias().With(field.Line.Required)).Required()).
			Doc("Makes the user of an alias one with an external id."),
		identify("identifyUser2", "Identify user V2", body.Together(knownByAlias(), knownByEmail()),
			field.Object("user_alias", alias().With(field.Line.Required)).RequiredUnless("email_to_identify"),
			field.Text("email_to_identify").RequiredUnless("user_alias"),
			field.Object("prioritization", priorities("unidentified", "most_recently_updated", "least_recently_updated")).
				RequiredWith("email_to_identify"),
			mode("add"),
		).Needs(modes("add", "upsert")).Doc("Makes the user of an alias or of an email address one with an external id."),
		occurrence("trackEvent2", "Track event V2", mode("add")).Needs(modes("add", "update")).
			Doc("A custom event, with a sync mode."),
		purchase("trackPurchase2", "Track purchase V2", mode("add")).Needs(modes("add", "update")).
			Doc("A purchase for each product of an order, with a sync mode."),
		profile("updateUserProfile2", "Update user profile V2", mode("update")).Needs(modes("update")).
			Doc("Sets attributes of a profile that exists."),
		newAlias("createAlias2", "Create alias V2", mode("add")).Needs(modes("add")).
			Doc("Gives a user, known or not, an alias."),
		trigger("triggerCampaign", "Trigger campaign", "/campaigns/trigger/send", campaignFields()).
			Doc("Sends an API-triggered campaign, at once and also for old events.").
			Live("sends a campaign to people", sendDocs),
		trigger("triggerCanvas", "Trigger canvas", "/canvas/trigger/send", canvasFields()).
			Doc("Starts an API-triggered canvas, at once and also for old events.").
			Live("starts a canvas", sendDocs),
		shop("ecommerce", "Ecommerce event (multi product)", several(), ecommerceFields()).
			Doc("One of Braze's recommended events about a cart or an order. It needs a source, and of every product " +
				"name, variant, price and quantity."),
		shop("ecommerceSingleProduct", "Ecommerce event (single product)", single(), singleFields()).
			Needs(body.From("name").Is(viewed), "it is an event of several products").
			Doc("Braze's recommended event about a product that was viewed. It needs a source, and of the product name, " +
				"variant and price."),
		catalog(),
	}
}

// shopPreset sends an event as one that Braze recommends, or as it is when it lacks what that needs.
func shopPreset(name, event string, m map[string]mapping.Value) destination.Preset {
	return destination.Preset{Name: name, Action: "ecommerce", Subscribe: `event = "` + event + `"`, Mapping: m,
		Otherwise: "trackEvent"}
}

// about is the mapping of an e-commerce event that carries an address.
func about(name, address string) map[string]mapping.Value {
	return mapping.Lines(`name = "`+name+`"`, "metadata."+address+" = properties."+address)
}

// carted is the mapping of an event about one product of a cart.
func carted(action string) map[string]mapping.Value {
	with := mapping.Lines(`name = "`+cart+`"`, `action = "`+action+`"`)
	with["products"] = mapping.Array(field.Object("", product("$.properties."),
		field.Numbers("quantity = properties.quantity")).Mapping())
	return with
}

var (
	ours     = regexp.MustCompile(`^https://rest\.[^./?#@:]+\.braze\.(com|eu)$`)
	instance = regexp.MustCompile(`^(us|eu|au|id|jp)-?(\d\d)$`)
)

// endpoint is the address of an instance, which may be named by itself.
// https://www.braze.com/docs/api/basics/#endpoints
func endpoint(s string) string {
	name := strings.ToLower(strings.TrimSpace(s))
	m := instance.FindStringSubmatch(name)
	switch {
	case m == nil:
		return strings.TrimRight(strings.TrimSpace(s), "/")
	case m[1] == "us" && m[2] < "09":
		return "https://rest.iad-" + m[2] + ".braze.com"
	case m[1] == "eu":
		return "https://rest.fra-" + m[2] + ".braze.eu"
	}
	return "https://rest." + m[1] + "-" + m[2] + ".braze.com"
}

// success is what every endpoint says of what it has taken, with the counts of those
// that count. During maintenance a request is queued.
// https://www.braze.com/docs/api/errors/#messaging-queued
func success(counts ...destination.Member) []destination.Success {
	members := append([]destination.Member{destination.Is("message", "success")}, counts...)
	return []destination.Success{
		destination.JSON(trackDocs, members...).With(200, 201, 202),
		destination.JSON("https://www.braze.com/docs/api/errors/", destination.Is("message", "queued")).With(202),
	}
}

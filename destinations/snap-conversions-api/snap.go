// Package snapconversionsapi delivers to Snap's Conversions API.
package snapconversionsapi

import (
	"errors"
	"strconv"

	"github.com/fanfold/fanfold/pkg/body"
	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/field"
)

// Settings of an ad account.
type Settings struct {
	PixelID     string `setting:"pixel_id" doc:"ID of the pixel, for events of the web and offline." example:"px-0"`
	SnapAppID   string `setting:"snap_app_id" doc:"ID of the Snap app, for events of an app."`
	AppID       string `setting:"app_id" doc:"ID of the app in its store."`
	AccessToken string `setting:"access_token,required,secret,transport" doc:"Conversions API token." example:"eyJhbGciOi"`
}

const (
	docs      = "https://developers.snap.com/api/marketing-api/Conversions-API/UsingTheAPI"
	paramDocs = "https://developers.snap.com/api/marketing-api/Conversions-API/Parameters"
	introDocs = "https://developers.snap.com/api/marketing-api/Conversions-API/Introduction"
)

// New declares the destination.
func New() destination.Destination {
	app := body.From("action_source").Is("app")
	device := body.All(body.From("user_data.client_ip_address").Given(), body.From("user_data.client_user_agent").Given())
	return destination.Spec[Settings]{
		Info: destination.Info{
			Slug: "snap-conversions-api", Name: "Snap Conversions API", Summary: "advertising", Docs: docs,
			Integrations: []string{"Snap Conversions Api"},
			Elsewhere:    []string{"Snap Conversions", "Snapchat Conversion", "Snapchat Conversions API"},
			Differences: destination.Differences("a phone number is hashed by its digits, less an extension, a 00 in front "+
				"and the (0) behind a country's code", docs),
			Backfill: "Only events of the last 37 days count. Repeats are recognised by event_id.",
		},
		BaseURL: func(*Settings) string { return "https://tr.snapchat.com" },
		Auth: func(s *Settings) destination.Auth {
			return destination.QueryAuth("access_token", s.AccessToken).And(destination.Bearer(s.AccessToken))
		},
		Check: func(s *Settings) []error {
			if s.PixelID == "" && s.SnapAppID == "" {
				return []error{errors.New("pixel_id or snap_app_id is required: it says whose events they are")}
			}
			return nil
		},
		Limits: destination.Limits{
			BatchEvents: destination.Cap{N: 2000, Docs: introDocs},
			Window:      destination.Window{Past: 37 * destination.Day, Violation: "does not count the event", Docs: introDocs},
			Dedupe:      destination.Dedupe{Field: "event_id", Docs: paramDocs},
		},
		Success: []destination.Success{destination.JSON(docs, destination.Is("status", "VALID", "SUCCESS"))},
		Actions: destination.Actions{
			destination.Action("reportConversionEvent", "Report conversion event").
				Doc("A conversion on the web, in an app or offline.").
				Fields(
					field.Text("event_name"), field.MessageID("event_id"), field.Time("event_time").From("$.timestamp"),
					field.Text("action_source").OneOf(
						"email", "website", "app", "phone_call", "chat", "physical_store", "system_generated", "other"), who(),
					field.Object("app_data", field.Device(), field.Boolean("advertiser_tracking_enabled"),
						field.Booleans("application_tracking_enabled = context.device.adTrackingEnabled")),
					bought(), field.PageURL("event_source_url"),
					field.Boolean("data_processing_options").Doc("Limit what Snap does with the data."),
					field.Numbers("data_processing_options_country", "data_processing_options_state"),
					field.Products("products", field.Texts("item_id = product_id", "item_category = category", "brand = brand")),
				).
				TimeField("event_time").
				NeedsIdentity(body.Any(device, body.From("user_data.email", "user_data.phone", "user_data.madid",
					"user_data.externalId").Given()),
					"one of email, phone, madid, externalId, or client_ip_address with client_user_agent is required").
				Steps(
					destination.Send("POST", "/v3/{settings.pixel_id}/events", conversions()).If(body.Not(app)),
					destination.Send("POST", "/v3/{settings.snap_app_id}/events", conversions()).If(app),
				),
		},
		Presets: destination.Commerce{
			PaymentInfoEntered: "ADD_BILLING", ProductAdded: "ADD_CART", ProductAddedToWishlist: "ADD_TO_WISHLIST",
			ApplicationInstalled: "APP_INSTALL", ProductListViewed: "LIST_VIEW", ApplicationOpened: "APP_OPEN",
			SignedIn: "LOGIN", PageViewed: "PAGE_VIEW", OrderCompleted: "PURCHASE", ProductsSearched: "SEARCH",
			ProductShared: "SHARE", SignedUp: "SIGN_UP", CheckoutStarted: "START_CHECKOUT", ProductViewed: "VIEW_CONTENT",
		}.Under("reportConversionEvent", "event_name", `action_source = "website"`),
	}.Destination()
}

func who() field.Line {
	return field.Object("user_data",
		field.AnyID("externalId").List(), field.Texts("email", "phone").Below("$.properties", "$.traits"),
		field.Texts("gender", "dateOfBirth = .birthday", "lastName = .last_name", "firstName = .first_name",
			"city = .address.city", "state = .address.state", "zip = .address.postalCode", "country = .address.country").
			Below("$.context.traits", "$.properties"),
		field.IP("client_ip_address"), field.UserAgent("client_user_agent"), field.Text("subscriptionID"),
		field.Integer("leadID"), field.Texts("madid = context.device.advertisingId",
			"sc_click_id = integrations.Snap Conversions Api.click_id",
			"sc_cookie1 = integrations.Snap Conversions Api.uuid_c1", "idfv = context.device.id"),
	)
}

func bought() field.Line {
	return field.Object("custom_data",
		field.Currency("currency"), field.Integers("num_items = properties.quantity"),
		field.Texts("order_id = properties.order_id", "search_string = properties.query"),
		field.Numbers("value = properties.revenue, properties.total"),
		field.Texts("sign_up_method", "checkin_date", "travel_end", "travel_start", "suggested_destinations",
			"destination_airport", "country", "city", "region", "neighborhood", "departing_departure_date",
			"departing_arrival_date", "origin_airport", "returning_departure_date", "returning_arrival_date",
			"hotel_score", "postal_code", "preferred_neighborhoods", "preferred_star_ratings", "suggested_hotels"),
		field.Integers("num_adults", "num_children", "num_infants"),
	)
}

// conversions is a request with many events.
// https://developers.snap.com/api/marketing-api/Conversions-API/Parameters
func conversions() body.Node {
	hash := func(key, path, form string) body.Members {
		return body.Member(key, body.List(body.From("user_data."+path).Given().Hash(form)))
	}
	each := func(key string) body.Node { return body.Each("products", body.This(key).Else(body.Const(""))) }
	var extinfo []body.Node
	for _, l := range field.Device() {
		v := body.From("app_data." + l.Key()).Text()
		if l.Key() == "locale" {
			v = v.Replace("-", "_")
		}
		extinfo = append(extinfo, v.Else(body.Const("")))
	}
	tracking := func(key string) body.Members { return body.Member(key, body.From("app_data."+key).Number()) }
	return body.Object(body.Member("data", body.Items(body.Object(
		body.Member("integration", body.Const("segment")), body.Same("event_name", "event_source_url", "action_source"),
		body.Member("event_id", body.From("event_id").Given().Else(body.InsertID())),
		body.Member("event_time", body.From("event_time").Millis()),
		body.Member("user_data", body.Object(
			hash("em", "email", "email"), hash("ph", "phone", "phone_digits"), hash("fn", "firstName", "name"),
			hash("ln", "lastName", "name"), hash("ge", "gender", "gender"), hash("db", "dateOfBirth", "birthdate"),
			hash("ct", "city", "city"), hash("st", "state", "state"), hash("zp", "zip", "zip"),
			hash("country", "country", "country"), body.Member("external_id", body.From("user_data.externalId").Hash("")),
			body.Copy("client_ip_address = user_data.client_ip_address", "client_user_agent = user_data.client_user_agent",
				"subscription_id = user_data.subscriptionID", "lead_id = user_data.leadID", "idfv = user_data.idfv",
				"sc_click_id = user_data.sc_click_id", "sc_cookie1 = user_data.sc_cookie1"),
			body.Member("madid", body.From("user_data.madid").Lower()),
		)),
		body.When(body.From("action_source").Is("app"), body.Member("app_data", body.Object(
			body.Member("app_id", body.Setting("app_id")), tracking("advertiser_tracking_enabled"),
			tracking("application_tracking_enabled"), body.Member("extinfo", body.List(extinfo...)),
		))),
		body.Member("custom_data", body.Object(
			body.Spread("custom_data"), body.Member("brands", each("brand")), body.Member("content_ids", each("item_id")),
			body.Member("content_category", each("item_category")),
			body.Member("num_items", body.From("products", "custom_data.num_items").As("how many there are", count)),
		)),
		body.When(body.From("data_processing_options").Given(),
			body.Member("data_processing_options", body.List(body.Const("LMU"))),
			body.Same("data_processing_options_country", "data_processing_options_state")),
	))))
}

// count is the number of elements of a list; a number is one already.
func count(dst []byte, v event.Value, _ *body.Context) []byte {
	if v.Kind() == event.Array {
		return strconv.AppendInt(dst, int64(v.Len()), 10)
	}
	return append(dst, v.Raw()...)
}

package destination

import (
	"strconv"
	"strings"

	"github.com/fanfold/fanfold/pkg/mapping"
)

// Commerce holds a partner's names for what people do in shops and apps, such as OrderCompleted: "Purchase". Each
// member has the name of its event in the specifications. Events that the partner has no name for stay "".
//
// https://segment.com/docs/connections/spec/ecommerce/v2/
// https://segment.com/docs/connections/spec/mobile/
type Commerce struct {
	PageViewed string // a page call

	ProductsSearched, ProductListViewed, PromotionViewed, PromotionClicked  string
	ProductClicked, ProductViewed, ProductAdded, ProductRemoved, CartViewed string
	CheckoutStarted, PaymentInfoEntered, OrderPlaced, OrderCompleted        string
	OrderRefunded, ProductAddedToWishlist, ProductShared                    string
	SignedUp, SignedIn, LeadGenerated, FormSubmitted, CallbackStarted       string
	SubscriptionCreated, DownloadLinkClicked, ApplicationInstalled          string
	ApplicationOpened, ApplicationSubmitted                                 string
}

// Moment is one event of [Commerce].
type Moment struct {
	Event    string // "Order Completed"
	Trigger  string // in the filter language
	Name     string // the partner's name
	Products string // path of the list of products in the event, or of the event's own data; "": it has no products
}

// Moments lists the events that the partner has a name for, always in the same order.
func (c Commerce) Moments() (list []Moment) {
	const none, itself, several = "", "$.properties", "$.properties.products"
	for _, m := range []Moment{
		{"Page Viewed", `type = "page"`, c.PageViewed, several},
		track("Products Searched", c.ProductsSearched, itself),
		track("Product List Viewed", c.ProductListViewed, several),
		track("Promotion Viewed", c.PromotionViewed, itself),
		track("Promotion Clicked", c.PromotionClicked, itself),
		track("Product Clicked", c.ProductClicked, itself),
		track("Product Viewed", c.ProductViewed, itself),
		track("Product Added", c.ProductAdded, itself),
		track("Product Removed", c.ProductRemoved, itself),
		track("Cart Viewed", c.CartViewed, several),
		track("Checkout Started", c.CheckoutStarted, several),
		track("Payment Info Entered", c.PaymentInfoEntered, several),
		track("Order Placed", c.OrderPlaced, several),
		track("Order Completed", c.OrderCompleted, several),
		track("Order Refunded", c.OrderRefunded, several),
		track("Product Added to Wishlist", c.ProductAddedToWishlist, itself),
		track("Product Shared", c.ProductShared, itself),
		track("Signed Up", c.SignedUp, none),
		track("Signed In", c.SignedIn, none),
		track("Lead Generated", c.LeadGenerated, none),
		track("Form Submitted", c.FormSubmitted, none),
		track("Callback Started", c.CallbackStarted, none),
		track("Subscription Created", c.SubscriptionCreated, none),
		track("Download Link Clicked", c.DownloadLinkClicked, none),
		track("Application Installed", c.ApplicationInstalled, none),
		track("Application Opened", c.ApplicationOpened, none),
		track("Application Submitted", c.ApplicationSubmitted, none),
	} {
		if m.Name != "" {
			list = append(list, m)
		}
	}
	return list
}

func track(event, name, products string) Moment {
	return Moment{event, `type = "track" and event = ` + strconv.Quote(event), name, products}
}

// Trigger is the trigger for events that the partner calls by this name. For a name that is not in the list it is
// every track call.
func (c Commerce) Trigger(name string) string {
	for _, m := range c.Moments() {
		if m.Name == name {
			return m.Trigger
		}
	}
	return `type = "track"`
}

// Others is the trigger for all track calls that the partner has no name for.
func (c Commerce) Others() string {
	var events []string
	for _, m := range c.Moments() {
		if strings.Contains(m.Trigger, "event = ") {
			events = append(events, strconv.Quote(m.Event))
		}
	}
	return `type = "track" and !(event in [` + strings.Join(events, ", ") + "])"
}

// Under makes one preset of an action for every name, which it puts into a field. The lines are further members of the
// mapping: see [mapping.Lines].
func (c Commerce) Under(action, field string, lines ...string) []Preset {
	return c.Presets(func(m Moment) Preset {
		return Preset{Action: action, Mapping: mapping.Lines(append(lines, field+" = "+strconv.Quote(m.Name))...)}
	})
}

// Presets makes one preset for every name, by calling f with the moment. Where f leaves the name or the trigger
// empty, those of the moment are used.
func (c Commerce) Presets(f func(m Moment) Preset) (list []Preset) {
	for _, m := range c.Moments() {
		p := f(m)
		if p.Name == "" {
			p.Name = m.Event
		}
		if p.Subscribe == "" {
			p.Subscribe = m.Trigger
		}
		list = append(list, p)
	}
	return list
}

// Package destinations is the catalogue: every partner that fanfold delivers
// to, one constructor a line.
package destinations

import (
	"github.com/fanfold/fanfold/destinations/amplitude"
	"github.com/fanfold/fanfold/destinations/attio"
	"github.com/fanfold/fanfold/destinations/braze"
	"github.com/fanfold/fanfold/destinations/customerio"
	"github.com/fanfold/fanfold/destinations/drip"
	"github.com/fanfold/fanfold/destinations/facebook-conversions-api"
	"github.com/fanfold/fanfold/destinations/file"
	"github.com/fanfold/fanfold/destinations/google-analytics-4"
	"github.com/fanfold/fanfold/destinations/hubspot"
	"github.com/fanfold/fanfold/destinations/intercom"
	"github.com/fanfold/fanfold/destinations/iterable"
	"github.com/fanfold/fanfold/destinations/klaviyo"
	"github.com/fanfold/fanfold/destinations/linkedin-conversions"
	"github.com/fanfold/fanfold/destinations/loops"
	"github.com/fanfold/fanfold/destinations/mixpanel"
	"github.com/fanfold/fanfold/destinations/moengage"
	"github.com/fanfold/fanfold/destinations/optimizely-feature-experimentation-actions"
	"github.com/fanfold/fanfold/destinations/posthog"
	"github.com/fanfold/fanfold/destinations/reddit-conversions-api"
	"github.com/fanfold/fanfold/destinations/s3"
	"github.com/fanfold/fanfold/destinations/segment"
	"github.com/fanfold/fanfold/destinations/sendgrid"
	"github.com/fanfold/fanfold/destinations/slack"
	"github.com/fanfold/fanfold/destinations/snap-conversions-api"
	"github.com/fanfold/fanfold/destinations/stdout"
	"github.com/fanfold/fanfold/destinations/tiktok-conversions"
	"github.com/fanfold/fanfold/destinations/twilio"
	"github.com/fanfold/fanfold/destinations/webhook"
	"github.com/fanfold/fanfold/pkg/destination"
)

// Catalogue returns the catalogue, sorted by slug.
func Catalogue() destination.Catalogue {
	return destination.Catalogue{
		destination.Lazy("amplitude", amplitude.New),
		destination.Lazy("attio", attio.New),
		destination.Lazy("braze", braze.New),
		destination.Lazy("customerio", customerio.New),
		destination.Lazy("drip", drip.New),
		destination.Lazy("facebook-conversions-api", facebookconversionsapi.New),
		destination.Lazy("file", file.New),
		destination.Lazy("google-analytics-4", googleanalytics4.New),
		destination.Lazy("hubspot", hubspot.New),
		destination.Lazy("intercom", intercom.New),
		destination.Lazy("iterable", iterable.New),
		destination.Lazy("klaviyo", klaviyo.New),
		destination.Lazy("linkedin-conversions", linkedinconversions.New),
		destination.Lazy("loops", loops.New),
		destination.Lazy("mixpanel", mixpanel.New),
		destination.Lazy("moengage", moengage.New),
		destination.Lazy("optimizely-feature-experimentation-actions", optimizelyfeatureexperimentation.New),
		destination.Lazy("posthog", posthog.New),
		destination.Lazy("reddit-conversions-api", redditconversionsapi.New),
		destination.Lazy("s3", s3.New),
		destination.Lazy("segment", segment.New),
		destination.Lazy("sendgrid", sendgrid.New),
		destination.Lazy("slack", slack.New),
		destination.Lazy("snap-conversions-api", snapconversionsapi.New),
		destination.Lazy("stdout", stdout.New),
		destination.Lazy("tiktok-conversions", tiktokconversions.New),
		destination.Lazy("twilio", twilio.New),
		destination.Lazy("webhook", webhook.New),
	}
}

// All returns all destinations of the catalogue.
func All() []destination.Destination { return Catalogue().All() }

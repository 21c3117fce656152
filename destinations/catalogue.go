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

// All returns the catalogue, sorted by slug.
func All() []destination.Destination {
	return []destination.Destination{
		amplitude.New(),
		attio.New(),
		braze.New(),
		customerio.New(),
		drip.New(),
		facebookconversionsapi.New(),
		file.New(),
		googleanalytics4.New(),
		hubspot.New(),
		intercom.New(),
		iterable.New(),
		klaviyo.New(),
		linkedinconversions.New(),
		loops.New(),
		mixpanel.New(),
		moengage.New(),
		optimizelyfeatureexperimentation.New(),
		posthog.New(),
		redditconversionsapi.New(),
		s3.New(),
		segment.New(),
		sendgrid.New(),
		slack.New(),
		snapconversionsapi.New(),
		stdout.New(),
		tiktokconversions.New(),
		twilio.New(),
		webhook.New(),
	}
}

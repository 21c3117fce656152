// Package twilio delivers to Twilio: a text message for an event.
package twilio

import (
	"github.com/fanfold/fanfold/pkg/body"
	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/field"
)

// Settings of an account.
type Settings struct {
	AccountID   string `setting:"account_id,required" doc:"Account SID." example:"AC00000000000000000000000000000000"`
	Token       string `setting:"token,required,secret,transport" doc:"Auth token." example:"0123456789abcdef01234567"`
	PhoneNumber string `setting:"phone_number,required" doc:"Number to send from, in E.164." example:"+15005550006"`
}

const (
	docs = "https://www.twilio.com/docs/messaging/api/message-resource"
	// https://www.twilio.com/docs/api/errors/21617: characters of a message
	maxBody = 1600
)

// New declares the destination.
func New() destination.Destination {
	return destination.Spec[Settings]{
		Info: destination.Info{
			Slug: "twilio", Name: "Twilio", Summary: "text messages", Docs: docs, Minimal: true,
			Backfill: "Every event sends a message to a person, now, and a repeat sends it again: " +
				"there is nothing that Twilio would know a repeat by. No preset does, and a backfill hardly should.",
		},
		BaseURL: func(*Settings) string { return "https://api.twilio.com" },
		Auth:    func(s *Settings) destination.Auth { return destination.Basic(s.AccountID, s.Token) },
		Success: []destination.Success{
			destination.JSON(docs, destination.Text("sid"),
				destination.Is("status", "accepted", "scheduled", "queued", "sending", "sent")).With(201),
		},
		// A message that was made and failed: made again it would fail again.
		Sayings: []destination.Saying{destination.Means(destination.Rejected, destination.Refused, docs).
			When("status", "failed", "undelivered", "canceled")},
		Live: destination.Live{Does: "sends a message to a person, which is billed", Docs: docs},
		Actions: destination.Actions{
			destination.Action("sendSMS", "Send SMS").Doc("Sends a text message.").
				Fields(
					field.Text("To").Required().Doc("Number to send to, in E.164."),
					field.Text("Body").Required().AtMost(maxBody).Doc("What the message says."),
					field.Text("MediaUrl").Doc("Address of a picture to send with it."),
				).
				PostForm("/2010-04-01/Accounts/{settings.account_id}/Messages.json", body.Object(
					body.Member("From", body.Setting("phone_number")),
					body.Same("To", "Body"), body.SameGiven("MediaUrl"),
				)),
		},
	}.Destination()
}

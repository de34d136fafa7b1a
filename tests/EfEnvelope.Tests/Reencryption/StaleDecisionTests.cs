using EfEnvelope.Keys;
using EfEnvelope.Reencryption;

namespace EfEnvelope.Tests.Reencryption;

public sealed class StaleDecisionTests
{
    private static readonly DateTimeOffset Now = DateTimeOffset.Parse("2026-06-01T00:00:00Z");
    private static readonly TimeSpan Year = TimeSpan.FromDays(365);

    [Fact]
    public void A_row_key_that_was_retired_by_a_slow_clock_when_another_went_is_not_within_the_earlier_list()
    {
        var kek = Key(KeyPurpose.Kek, KeyState.Active, 30);
        KeyRingEntry[] keys = [Key(KeyPurpose.Field, KeyState.Compromised, 20, kek.Id), Key(KeyPurpose.Field, KeyState.Compromised, 20, kek.Id), Key(KeyPurpose.Field, KeyState.Compromised, 20, kek.Id)];
        var earlier = StaleKeys.RetiredOf(Rings.Summarize([kek, keys[0], keys[1]]), Now);
        Assert.False(StaleKeys.RetiredOf(Rings.Summarize([kek, keys[0], keys[2]]), Now).IsWithin(earlier));
        Assert.True(StaleKeys.RetiredOf(Rings.Summarize([kek, keys[1], keys[0]]), Now).IsWithin(earlier));
    }

    [Fact]
    public void Each_reason_is_told_compromised_keys_first_then_the_oldest()
    {
        var retired = Key(KeyPurpose.Kek, KeyState.Deactivated, 10);
        var stolen = Key(KeyPurpose.Kek, KeyState.Compromised, 10);
        KeyRingEntry[] ring =
        [
            retired, stolen,
            Key(KeyPurpose.Field, KeyState.Active, 30),
            Key(KeyPurpose.Kek, KeyState.Active, 30),
            Key(KeyPurpose.Kek, KeyState.Active, 450),
            Key(KeyPurpose.Kek, KeyState.Active, 35) with { RootKeyId = "former" },
            Key(KeyPurpose.Field, KeyState.Active, 366),
            Key(KeyPurpose.Field, KeyState.Deactivated, 400),
            Key(KeyPurpose.Field, KeyState.Deactivated, 500),
            Key(KeyPurpose.Field, KeyState.Compromised, 20),
            Key(KeyPurpose.Field, KeyState.Active, 900, retired.Id),
            Key(KeyPurpose.Field, KeyState.Active, 800, retired.Id),
            Key(KeyPurpose.Field, KeyState.Destroyed, 950, retired.Id),
            Key(KeyPurpose.Field, KeyState.Active, 15, stolen.Id),
            Key(KeyPurpose.Field, KeyState.Active, 40) with { RootKeyId = "former" },
            Key(KeyPurpose.Field, KeyState.Revoked, 50),
            Key(KeyPurpose.Field, KeyState.Destroyed, 50),
            Key(KeyPurpose.Field, KeyState.PendingDestruction, 50),
            Key(KeyPurpose.Mac, KeyState.Active, 900),
        ];

        var (scopes, rowKeys) = StaleDecision.Of(Rings.Summarize(ring), Now, Year, "root");

        Assert.Equal(
            [
                (StaleReason.Compromised, 20), (StaleReason.Rotated, 500), (StaleReason.Expired, 450), (StaleReason.Rotated, 400), (StaleReason.Expired, 366), (StaleReason.OtherRootKey, 40), (StaleReason.OtherRootKey, 35),
            ],
            scopes.Select(d => (d.Reason, (int)(Now - d.Key.CreatedAt).TotalDays)));
        Assert.Equal([(StaleReason.Compromised, 15, 1L), (StaleReason.KekRetired, 900, 2L)], rowKeys.Select(d => (d.Reason, (int)(Now - d.Keys.CreatedAt).TotalDays, d.Keys.Keys)));
    }

    [Fact]
    public void A_key_is_expired_after_its_lifetime_not_at_its_end()
    {
        var key = Key(KeyPurpose.Field, KeyState.Active, 365);
        Assert.Empty(StaleDecision.Of(Rings.Summarize([key]), Now, Year, "root").Scopes);
        Assert.Equal(StaleReason.Expired, Assert.Single(StaleDecision.Of(Rings.Summarize([key]), Now.AddTicks(1), Year, "root").Scopes).Reason);
    }

    [Fact]
    public void Without_the_key_services_word_no_key_is_said_to_be_under_another_root_key()
        => Assert.Empty(StaleDecision.Of(Rings.Summarize([Key(KeyPurpose.Field, KeyState.Active, 1) with { RootKeyId = "former" }]), Now, Year, null).Scopes);

    private static KeyRingEntry Key(KeyPurpose purpose, KeyState state, int days, Guid? kek = null) => new()
    {
        Id = Guid.NewGuid(), Scope = kek is null ? "global" : $"row:{Guid.NewGuid()}@global", Purpose = purpose, Version = 1, State = state, KekId = kek, Wrapped = [1], RootKeyId = kek is null ? "root" : null,
        CreatedAt = Now.AddDays(-days), ActivatedAt = Now.AddDays(-days), Revision = 1,
    };
}

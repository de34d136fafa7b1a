using EfEnvelope.Cryptography;
using EfEnvelope.Keys;
using EfEnvelope.Reencryption;

namespace EfEnvelope.Tests.Reencryption;

public sealed class StaleKeysTests
{
    private static readonly DateTimeOffset Now = DateTimeOffset.Parse("2026-06-01T00:00:00Z", System.Globalization.CultureInfo.InvariantCulture);
    private static readonly KeyRingEntry Kek = new() { Id = Guid.NewGuid(), Scope = "global", Purpose = KeyPurpose.Kek, Version = 1, State = KeyState.Active, Wrapped = [1], RootKeyId = "root", CreatedAt = Now.AddDays(-400), Revision = 1 };
    private static readonly KeyRingEntry[] Ring = [Kek, Row(60), Row(50), Row(40)];

    [Fact]
    public void Row_keys_that_were_destroyed_meanwhile_leave_the_others_settled()
        => Assert.True(List(Ring[..3]).IsWithin(List(Ring)));

    [Fact]
    public void A_row_key_that_was_retired_meanwhile_unsettles_whatever_was_destroyed()
    {
        Assert.False(List([.. Ring[..2], Row(0)]).IsWithin(List(Ring)));
        Assert.False(List([.. Ring, Row(45)]).IsWithin(List(Ring)));

        // By a clock that is ten minutes behind, where the last change was five minutes ago by one that is right.
        KeyRingEntry[] before = [.. Ring, Row(5)];
        Assert.True(List(before).IsWithin(List(before)));
        Assert.False(List([.. Ring[..2], Row(10)]).IsWithin(List(before)));
    }

    private static StaleKeys List(KeyRingEntry[] ring) => StaleKeys.RetiredOf(Rings.Summarize(ring), Now);

    private static KeyRingEntry Row(int minutes) => new()
    {
        Id = Guid.NewGuid(), Scope = $"row:{Guid.NewGuid()}@global", Purpose = KeyPurpose.Field, Version = 1, State = KeyState.Deactivated, KekId = Kek.Id, Wrapped = [1],
        CreatedAt = Now.AddDays(-300), ActivatedAt = Now.AddDays(-300), StateChangedAt = Now.AddMinutes(-minutes), Revision = 2,
    };
}

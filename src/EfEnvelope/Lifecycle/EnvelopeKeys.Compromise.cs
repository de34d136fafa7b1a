using EfEnvelope.Census;
using EfEnvelope.Keys;
using EfEnvelope.Lifecycle;
using EfEnvelope.Reencryption;

namespace EfEnvelope;

/// <summary>What to do when a key may be known to others.</summary>
public sealed partial class EnvelopeKeys
{
    /// <summary>
    /// How long <see cref="RevokeAsync"/>, <see cref="DestroyAsync"/> and <see cref="DestroyDueAsync"/> wait for the cut-off: a whole sealing lease of the ring (a minute by default) from the call on, then the end of every
    /// older transaction. Less than the lease, zero too, always refuses. Default 15 minutes.
    /// </summary>
    public TimeSpan CutOffTimeout { get; init; } = new ReencryptionOptions().CutOffTimeout;

    /// <summary>
    /// Reports a key compromised: sealing with it stops, here at once and everywhere within the sealing lease; a new version takes over. It opens on until its rows are re-encrypted; then <see cref="RevokeAsync"/>.
    /// <see cref="CompromiseAsync"/> does all of it.
    /// </summary>
    /// <param name="keyId">The key; a kek takes the row keys that it wraps with it.</param>
    /// <param name="reason">For the record; no personal data.</param>
    /// <param name="cancellationToken">Cancels the call; what is marked by then stays marked.</param>
    /// <returns>The keys that were marked by this call, of row keys the first 1,000; empty where all were marked before.</returns>
    /// <exception cref="KeyNotFoundInRingException">The ring holds no such key.</exception>
    /// <exception cref="KeyRevokedException">It is revoked or destroyed already.</exception>
    /// <exception cref="EnvelopeConfigurationException">It neither seals values nor wraps row keys.</exception>
    public Task<ChangedKeys> ReportCompromisedAsync(Guid keyId, string reason, CancellationToken cancellationToken = default)
        => ReportCompromisedAsync(KeySelection.Key(keyId), reason, cancellationToken: cancellationToken);

    /// <summary>Reports every usable key of a scope compromised, its kek included.</summary>
    /// <param name="scope">The scope.</param>
    /// <param name="reason">For the record; no personal data.</param>
    /// <param name="cancellationToken">Cancels the call; what is marked by then stays marked.</param>
    /// <exception cref="KeyNotFoundInRingException">The ring holds no key of it.</exception>
    public Task<ChangedKeys> ReportCompromisedAsync(EnvelopeScope scope, string reason, CancellationToken cancellationToken = default)
        => ReportCompromisedAsync(KeySelection.Scope(scope), reason, cancellationToken: cancellationToken);

    /// <summary>Reports the selected keys compromised, and lets new versions take over. May be repeated.</summary>
    /// <param name="selection">Which keys.</param>
    /// <param name="reason">For the record; no personal data.</param>
    /// <param name="reportedBy">Who reports, for the record; null for the operating system's user.</param>
    /// <param name="cancellationToken">Cancels the call; what is marked by then stays marked.</param>
    /// <returns>The keys that were marked by this call, of row keys the first 1,000; empty where all were marked before.</returns>
    /// <exception cref="KeyNotFoundInRingException">The selection is empty.</exception>
    /// <exception cref="KeyRevokedException">All of it is revoked or destroyed already.</exception>
    /// <exception cref="EnvelopeConfigurationException">A time in the future; or the configured root key itself: new keys would be wrapped by it again.</exception>
    public async Task<ChangedKeys> ReportCompromisedAsync(KeySelection selection, string reason, string? reportedBy = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(selection);
        ArgumentException.ThrowIfNullOrWhiteSpace(reason);
        return ChangedKeys.Of((await _session.Ring.CompromiseAsync(selection, reason, reportedBy ?? Environment.UserName, _session.OpenStore(), cancellationToken).ConfigureAwait(false)).Marked);
    }

    /// <summary>What a compromise of the selected keys would expose: a dry run of <see cref="CompromiseAsync"/>. Changes nothing; reads whole tables, the database does the counting.</summary>
    /// <param name="selection">Which keys.</param>
    /// <param name="cancellationToken">Cancels the call.</param>
    /// <exception cref="KeyNotFoundInRingException">The selection is empty.</exception>
    /// <exception cref="EnvelopeConfigurationException">A time in the future.</exception>
    public async Task<ExposureReport> PreviewCompromiseAsync(KeySelection selection, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(selection);
        var found = await _session.Ring.FindAsync(selection, _session.OpenStore(), cancellationToken).ConfigureAwait(false);
        return await ExposureSurvey.TakeAsync(_session, selection, found, null, null, isDryRun: true, cancellationToken).ConfigureAwait(false);
    }

    /// <summary>
    /// The whole response to a compromise: sealing with the selected keys stops at once and new ones take over; what they expose is counted and reported; their rows are re-encrypted, these keys first; and when the census
    /// after the cut-off finds no cell that names them, opening with them is refused. Resumable: after a crash, or when it could not end, run it again with the same selection.
    /// </summary>
    /// <param name="selection">Which keys.</param>
    /// <param name="reason">For the record; no personal data.</param>
    /// <param name="options">How; null for the defaults.</param>
    /// <param name="progress">Told of the re-encryption after each batch, from any thread.</param>
    /// <param name="cancellationToken">Stops after the current batch; the keys stay marked, nothing is lost.</param>
    /// <exception cref="KeyNotFoundInRingException">The selection is empty.</exception>
    /// <exception cref="KeyRevokedException">All of it is revoked or destroyed already.</exception>
    /// <exception cref="EnvelopeConfigurationException">A time in the future; or the configured root key itself: new keys would be wrapped by it again.</exception>
    public Task<CompromiseReport> CompromiseAsync(
        KeySelection selection, string reason, CompromiseOptions? options = null, IProgress<ReencryptionProgress>? progress = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(selection);
        ArgumentException.ThrowIfNullOrWhiteSpace(reason);
        return new CompromiseResponse(_session, this, options ?? new CompromiseOptions()).RunAsync(selection, reason, progress, cancellationToken);
    }

    /// <summary>Ends opening with a compromised or deactivated key, and with the row keys under it. Refused while one cell names it, or the cut-off is not reached.</summary>
    /// <param name="keyId">The key.</param>
    /// <param name="reason">For the record; no personal data.</param>
    /// <param name="cancellationToken">Cancels the call.</param>
    /// <exception cref="KeyInUseException">The census still counts cells that name it, the ring serves other databases that it does not count (<see cref="EnvelopeCensus.OtherDatabases"/>), lists columns that are not found (<see cref="EnvelopeCensus.MissingColumns"/>), or the cut-off is not reached. The key is kept as it is; row keys under it may seal no more. Call again when the message is seen to.</exception>
    /// <exception cref="KeyRevokedException">Its state does not allow it. Nothing was changed.</exception>
    /// <exception cref="KeyNotFoundInRingException">The ring holds no such key.</exception>
    public async Task<KeyInfo> RevokeAsync(Guid keyId, string? reason = null, CancellationToken cancellationToken = default)
    {
        var key = await _session.Ring.FindScopeKeyAsync(keyId, _session.OpenStore(), cancellationToken).ConfigureAwait(false);
        RequireNext(key, KeyState.Revoked);
        key = await RequireUnusedAsync(key, cancellationToken).ConfigureAwait(false);
        await _session.Ring.RevokeAsync(key, reason, Environment.UserName, _session.OpenStore(), cancellationToken).ConfigureAwait(false);
        return await ReadAsync(keyId, cancellationToken).ConfigureAwait(false);
    }

    /// <summary>The gate before opening is refused for good: no cell names the key, or a row key under it, counted when no writer can still add one.</summary>
    /// <returns>The key as it is then.</returns>
    private async Task<KeyRingEntry> RequireUnusedAsync(KeyRingEntry key, CancellationToken cancellationToken)
    {
        // What is refused anyway neither waits nor changes anything.
        var store = _session.OpenStore();
        var wrapped = await _session.Ring.SumWrappedAsync(key, store, cancellationToken).ConfigureAwait(false);
        var changed = "Nothing was changed.";
        RequireUnused(key, wrapped, await TakeCensusOfAsync(key, cancellationToken).ConfigureAwait(false), changed);
        if (wrapped.Any(k => k.State == KeyState.Active))
        {
            changed = "The row keys under it seal no more; nothing else was changed.";
            await _session.Ring.DeactivateWrappedAsync(key, store, cancellationToken).ConfigureAwait(false);
            key = await _session.Ring.FindScopeKeyAsync(key.Id, store, cancellationToken).ConfigureAwait(false);
            wrapped = await _session.Ring.SumWrappedAsync(key, store, cancellationToken).ConfigureAwait(false);
        }

        var seen = _session.Runtime.TimeProvider.GetTimestamp();
        if (await CutOff.WaitAsync(_session, seen, CutOffTimeout, cancellationToken).ConfigureAwait(false) is { } notReached)
        {
            throw new KeyInUseException($"Key {key.Id} may still be sealed with: {notReached}. It is kept. {changed} Try again later.") { KeyId = key.Id };
        }

        RequireUnused(key, wrapped, await TakeCensusOfAsync(key, cancellationToken).ConfigureAwait(false), changed);
        return key;
    }

    /// <summary>A census that counts one key by itself, if it is a row's.</summary>
    private Task<EnvelopeCensus> TakeCensusOfAsync(KeyRingEntry key, CancellationToken cancellationToken)
        => CensusTaker.TakeAsync(_session, key.KekId is null ? null : e => e.Id == key.Id, cancellationToken, key.Id);

    private static void RequireUnused(KeyRingEntry key, IReadOnlyList<RowKeySum> wrapped, EnvelopeCensus census, string changed)
    {
        // What names a row key that is destroyed opens no more, whatever becomes of its kek, and no job can move it.
        var cells = census.CountOf(key.Id) + census.Entries.Where(e => e.KekId == key.Id && e.State != KeyState.Destroyed).Sum(e => e.Cells);
        if (cells > 0)
        {
            var under = wrapped.Count > 0 ? $", with the {wrapped.Sum(k => k.Keys)} row key(s) under it," : "";
            throw new KeyInUseException($"Key {key.Id}{under} is still named by {cells} cell(s) and is kept. Run the re-encryption job first. {changed}") { KeyId = key.Id };
        }

        if (census.NotAllBecause is { } notAll)
        {
            throw new KeyInUseException($"Key {key.Id} is kept: {notAll}. {changed}") { KeyId = key.Id };
        }
    }

    private static void RequireNext(KeyRingEntry key, KeyState state)
    {
        if (key.State == state || !KeyResolver.MayFollow(key.State, state))
        {
            var wayOut = key.State == KeyState.Active ? " Rotate its scope, or report it compromised, and re-encrypt first." : "";
            throw key.State == KeyState.Destroyed
                ? KeyResolver.OpeningError(key.Id, key)
                : new KeyRevokedException($"Key {key.Id} is {key.State} and cannot become {state}.{wayOut} Nothing was changed.") { KeyId = key.Id };
        }
    }

    private async Task<KeyInfo> ReadAsync(Guid keyId, CancellationToken cancellationToken)
        => KeyInfo.Of(await _session.Ring.FindScopeKeyAsync(keyId, _session.OpenStore(), cancellationToken).ConfigureAwait(false));
}

namespace EfEnvelope;

public sealed partial class EnvelopeKeys
{
    /// <summary>
    /// Writes the wrapped ring as a document of JSON lines, for disaster recovery: every key, row keys too, wrapped; it opens nothing without the key service. It names scopes, so treat it as confidential. Reads the whole
    /// ring, in pages: memory does not grow with the number of row keys.
    /// </summary>
    /// <param name="target">Where to write; flushed and left open.</param>
    /// <param name="cancellationToken">Cancels the call.</param>
    /// <returns>How many keys were written.</returns>
    /// <exception cref="KeyRingTamperedException">A row of the ring is not genuine; what was written is no whole document, and no import takes it.</exception>
    /// <exception cref="KeyUnavailableException">The database or the key service did not answer; the same.</exception>
    public Task<long> ExportAsync(Stream target, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(target);
        return _session.Ring.ExportAsync(target, _session.OpenStore(), cancellationToken);
    }

    /// <summary>
    /// Brings an export back: into an empty ring, or the ring it was taken from. Adds missing keys, restores rows that were tampered with (they no longer seal) and tightens states; never loosens one, so that a compromised
    /// or destroyed key stays so. Nothing is written before the whole document is proven by the key service's key. May be repeated. Memory does not grow with the number of keys.
    /// </summary>
    /// <param name="source">The document, from where the stream stands; read twice, and left open. A stream that cannot seek is first copied to a temporary file that only this user may read.</param>
    /// <param name="cancellationToken">Cancels the call; what was written so far is whole keys, and the import may be run again.</param>
    /// <exception cref="EnvelopeConfigurationException">It is no export, or the database holds keys of another ring.</exception>
    /// <exception cref="KeyRingTamperedException">
    /// The document was changed. Or all of it was brought back, but rows of the ring that do not authenticate say that their keys are revoked, destroyed or about to be, of which the document knows nothing: they are left as they are, and
    /// named, for somebody to decide.
    /// </exception>
    /// <exception cref="KeyRefusedException">The key service refuses: the export belongs to another root key.</exception>
    /// <exception cref="KeyUnavailableException">The database or the key service did not answer, or others change the same keys at the same time: import again.</exception>
    public async Task<KeyRingImport> ImportAsync(Stream source, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(source);
        if (source.CanSeek)
        {
            return await _session.Ring.ImportAsync(source, _session.OpenStore(), cancellationToken).ConfigureAwait(false);
        }

        var copy = CreateTemporaryFile();
        await using (copy.ConfigureAwait(false))
        {
            await source.CopyToAsync(copy, cancellationToken).ConfigureAwait(false);
            copy.Position = 0;
            return await _session.Ring.ImportAsync(copy, _session.OpenStore(), cancellationToken).ConfigureAwait(false);
        }
    }

    private static FileStream CreateTemporaryFile()
    {
        var options = new FileStreamOptions { Mode = FileMode.CreateNew, Access = FileAccess.ReadWrite, Options = FileOptions.Asynchronous | FileOptions.DeleteOnClose };
        if (!OperatingSystem.IsWindows())
        {
            options.UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite;
        }

        return new FileStream(Path.Combine(Path.GetTempPath(), $"efenvelope-import-{Guid.NewGuid():N}"), options);
    }
}

using System.Runtime.CompilerServices;
using System.Security.Cryptography;
using System.Text.Json;
using EfEnvelope.Cryptography;

namespace EfEnvelope.Keys;

/// <summary>
/// Reads a ring's document, line by line: its header, then its keys, then whether it is genuine. Nothing that it hands out is authenticated before <see cref="IsGenuine"/> says so. Not thread safe; the stream stays open.
/// </summary>
internal sealed class RingDocumentReader : IAsyncDisposable
{
    /// <summary>Far beyond any key's: what a key service answers has some hundred bytes, a reason and a scope at most a few thousand.</summary>
    private const int MaxLine = 1024 * 1024;

    private readonly RingDocumentDigest _digest = new();
    private readonly IAsyncEnumerator<JsonElement> _lines;
    private RingDocument.Trailer? _trailer;

    private RingDocumentReader(IAsyncEnumerator<JsonElement> lines) => _lines = lines;

    public RingDocument.Header Header { get; private set; } = null!;

    /// <summary>Reads the first line.</summary>
    /// <exception cref="EnvelopeConfigurationException">It is no export of a ring, or of a format that this version does not know.</exception>
    public static async Task<RingDocumentReader> OpenAsync(Stream source, CancellationToken cancellationToken)
    {
        var reader = new RingDocumentReader(JsonSerializer.DeserializeAsyncEnumerable<JsonElement>(new LimitedLines(source, MaxLine), topLevelValues: true, RingDocument.Json, cancellationToken).GetAsyncEnumerator(cancellationToken));
        try
        {
            reader.Header = await reader.ReadLineAsync(HeaderOf).ConfigureAwait(false);
            return reader;
        }
        catch
        {
            await reader.DisposeAsync().ConfigureAwait(false);
            throw;
        }
    }

    /// <summary>The keys, once, up to the last line.</summary>
    /// <exception cref="EnvelopeConfigurationException">The document ends before its last line, goes on behind it, or a line is no key.</exception>
    public async IAsyncEnumerable<KeyRingEntry> ReadKeysAsync([EnumeratorCancellation] CancellationToken cancellationToken)
    {
        while (true)
        {
            cancellationToken.ThrowIfCancellationRequested();
            var (entry, trailer) = await ReadLineAsync(LineOf).ConfigureAwait(false);
            if (entry is not null)
            {
                _digest.Add(Header.Ring, entry);
                yield return entry;
                continue;
            }

            await EndAsync().ConfigureAwait(false);
            _trailer = trailer;
            yield break;
        }
    }

    /// <summary>Whether what was read is what the ring wrote. After <see cref="ReadKeysAsync"/> came to its end; false before.</summary>
    public bool IsGenuine(DataKey macKey) => _trailer is { } trailer && trailer.Keys == _digest.Keys && CryptographicOperations.FixedTimeEquals(_digest.Compute(macKey, Header), trailer.Mac);

    public async ValueTask DisposeAsync()
    {
        _digest.Dispose();
        await _lines.DisposeAsync().ConfigureAwait(false);
    }

    private static RingDocument.Header HeaderOf(JsonElement line)
    {
        if (line.TryGetProperty("format", out var format) && format.ValueKind == JsonValueKind.String && !format.ValueEquals(RingDocument.CurrentFormat))
        {
            throw new EnvelopeConfigurationException(
                $"The document is a ring export of another format than '{RingDocument.CurrentFormat}'. Import it with the version of EfEnvelope that wrote it, or a newer one. Nothing was written.");
        }

        return Parse<RingDocument.Header>(line) is { Salt.Length: 16, Format: RingDocument.CurrentFormat } header ? header : throw new JsonException();
    }

    private static (KeyRingEntry? Entry, RingDocument.Trailer? Trailer) LineOf(JsonElement line)
        => line.TryGetProperty("keys", out _) ? (null, Parse<RingDocument.Trailer>(line) is { Mac.Length: 32 } trailer ? trailer : throw new JsonException()) : (Parse<RingDocument.Row>(line).ToEntry(), null);

    private static T Parse<T>(JsonElement line)
        where T : class => line.Deserialize<T>(RingDocument.Json) ?? throw new JsonException();

    private static EnvelopeConfigurationException Damaged(Exception? error)
        => new("The document is no key ring export, or is truncated or damaged. Take another copy. Nothing was written.", error);

    private async Task<T> ReadLineAsync<T>(Func<JsonElement, T> parse)
    {
        try
        {
            return await _lines.MoveNextAsync().ConfigureAwait(false) && _lines.Current.ValueKind == JsonValueKind.Object ? parse(_lines.Current) : throw new JsonException();
        }
        catch (Exception error) when (error is JsonException or InvalidDataException or FormatException or ArgumentException or NotSupportedException)
        {
            throw Damaged(error);
        }
    }

    private async Task EndAsync()
    {
        try
        {
            if (await _lines.MoveNextAsync().ConfigureAwait(false))
            {
                throw new JsonException();
            }
        }
        catch (Exception error) when (error is JsonException or InvalidDataException)
        {
            throw Damaged(error);
        }
    }
}

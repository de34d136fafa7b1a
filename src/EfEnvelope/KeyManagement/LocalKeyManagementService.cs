using System.Security.Cryptography;
using System.Text.Json;

namespace EfEnvelope.KeyManagement;

/// <summary>Development provider: the root key stands in a file of mode 0600. Refused in Production unless allowed by name.</summary>
internal sealed class LocalKeyManagementService : LocalRootKey
{
    private const string Format = "EfEnvelope/local-kms/v1";

    private readonly LocalKmsOptions _options;
    private readonly string _path;
    private readonly SemaphoreSlim _gate = new(1, 1);
    private (string Id, byte[] Key)? _root;

    public LocalKeyManagementService(LocalKmsOptions options)
    {
        options.Validate("");
        var environment = options.Environment
            ?? Environment.GetEnvironmentVariable("DOTNET_ENVIRONMENT")
            ?? Environment.GetEnvironmentVariable("ASPNETCORE_ENVIRONMENT")
            ?? "Production";
        if (!options.AllowInProduction && string.Equals(environment, "Production", StringComparison.OrdinalIgnoreCase))
        {
            throw new EnvelopeConfigurationException(
                "UseLocalKms keeps the root key in a file and is for development; the host's environment is Production. Use AWS KMS, set DOTNET_ENVIRONMENT=Development, or allow it by name: UseLocalKms(path, o => o with { AllowInProduction = true }).");
        }

        _options = options;
        _path = Path.GetFullPath(options.Path);
    }

    public override string Provider => "local";

    protected override async Task<(string Id, byte[] Key)> GetRootKeyAsync(CancellationToken cancellationToken)
    {
        if (_root is { } known)
        {
            return known;
        }

        await _gate.WaitAsync(cancellationToken).ConfigureAwait(false);
        try
        {
            if (!File.Exists(_path))
            {
                await CreateAsync(cancellationToken).ConfigureAwait(false);
            }

            var read = await ReadAsync(cancellationToken).ConfigureAwait(false);
            _root = read;
            return read;
        }
        finally
        {
            _gate.Release();
        }
    }

    /// <summary>Writes a temporary file and links it into place only if there is none: a racing process wins or loses whole.</summary>
    private async Task CreateAsync(CancellationToken cancellationToken)
    {
        var file = new KeyFile(Format, $"local:{Guid.NewGuid():D}", Convert.ToBase64String(RandomNumberGenerator.GetBytes(32)));
        var temporary = $"{_path}.{Guid.NewGuid():N}.tmp";
        try
        {
            var options = new FileStreamOptions { Mode = FileMode.CreateNew, Access = FileAccess.Write, Share = FileShare.None };
            if (!OperatingSystem.IsWindows())
            {
                options.UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite;
            }

            var stream = new FileStream(temporary, options);
            await using (stream.ConfigureAwait(false))
            {
                await JsonSerializer.SerializeAsync(stream, file, KeyFile.Json, cancellationToken).ConfigureAwait(false);
                stream.Flush(flushToDisk: true);
            }

            File.Move(temporary, _path, overwrite: false);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            if (File.Exists(temporary))
            {
                File.Delete(temporary);
            }

            if (!File.Exists(_path))
            {
                throw Error($"cannot be made ({error.Message}). Make its folder, or name a path that this process may write", error);
            }
        }
    }

    private async Task<(string Id, byte[] Key)> ReadAsync(CancellationToken cancellationToken)
    {
        try
        {
            if (!OperatingSystem.IsWindows()
                && (File.GetUnixFileMode(_path) & (UnixFileMode.GroupRead | UnixFileMode.GroupWrite | UnixFileMode.OtherRead | UnixFileMode.OtherWrite)) != 0)
            {
                throw Error("can be read by others than its owner: treat its keys as known to them, or run `chmod 600` if they are not");
            }

            var stream = File.OpenRead(_path);
            await using (stream.ConfigureAwait(false))
            {
                var file = await JsonSerializer.DeserializeAsync<KeyFile>(stream, KeyFile.Json, cancellationToken).ConfigureAwait(false);
                var key = file is { Key: { } text } ? Convert.FromBase64String(text) : null;
                return file is { Format: Format, Id: { } id } && id.StartsWith("local:", StringComparison.Ordinal) && key is { Length: 32 }
                    ? (id, key)
                    : throw Error("is not a key file of EfEnvelope. Name the right file; a new one is made where none exists");
            }
        }
        catch (Exception error) when (error is JsonException or FormatException)
        {
            throw Error("is not a key file of EfEnvelope, or is damaged. Restore it from a backup: without it nothing opens");
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            throw Error($"cannot be read ({error.Message})", error);
        }
    }

    private EnvelopeConfigurationException Error(string what, Exception? inner = null) => new($"The local key file '{_options.Path}' {what}.", inner);

    private sealed record KeyFile(string Format, string Id, string Key)
    {
        public static readonly JsonSerializerOptions Json = new(JsonSerializerDefaults.Web) { WriteIndented = true };
    }
}

using System.Diagnostics;
using System.Security.Cryptography;
using System.Text.Json;

namespace EfEnvelope.KeyManagement;

/// <summary>Development provider: the root key stands in a file of mode 0600. Refused in Production unless allowed by name.</summary>
internal sealed class LocalKeyManagementService : LocalRootKey
{
    private const string Format = "EfEnvelope/local-kms/v1";

    /// <summary>How long another process is waited for that makes the file; it takes milliseconds.</summary>
    private static readonly TimeSpan LockTimeout = TimeSpan.FromSeconds(10);
    private static readonly TimeSpan LockPause = TimeSpan.FromMilliseconds(10);

    private readonly LocalKmsOptions _options;
    private readonly string _path;
    private readonly SemaphoreSlim _gate = new(1, 1);
    private volatile Root? _root;

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

    protected override async Task<Root> GetRootKeyAsync(CancellationToken cancellationToken)
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

    /// <summary>
    /// Makes the file unless there is one, under a lock that all creators take: a move that is told not to overwrite looks first and renames then, and two that looked together would both have made the root key, one of them for
    /// nobody to find again. Written whole before it is moved into place, so that a reader needs no lock. The lock's file stays: whoever removed it could not tell who waits for it.
    /// </summary>
    private async Task CreateAsync(CancellationToken cancellationToken)
    {
        var temporary = $"{_path}.{Guid.NewGuid():N}.tmp";
        try
        {
            var held = await LockAsync(cancellationToken).ConfigureAwait(false);
            await using (held.ConfigureAwait(false))
            {
                if (File.Exists(_path))
                {
                    return;
                }

                var file = new KeyFile(Format, $"local:{Guid.NewGuid():D}", Convert.ToBase64String(RandomNumberGenerator.GetBytes(32)));
                var stream = new FileStream(temporary, Owners(FileMode.CreateNew));
                await using (stream.ConfigureAwait(false))
                {
                    await JsonSerializer.SerializeAsync(stream, file, KeyFile.Json, cancellationToken).ConfigureAwait(false);
                    stream.Flush(flushToDisk: true);
                }

                File.Move(temporary, _path, overwrite: false);

                // The move changed the file's own record too: a journaling file system writes both before this returns, and only then a key is wrapped.
                using var moved = File.OpenHandle(_path, access: FileAccess.ReadWrite);
                RandomAccess.FlushToDisk(moved);
            }
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            if (!File.Exists(_path))
            {
                throw Error($"cannot be made ({error.Message}). Make its folder, or name a path that this process may write", error);
            }
        }
        finally
        {
            if (File.Exists(temporary))
            {
                File.Delete(temporary);
            }
        }
    }

    private async Task<FileStream> LockAsync(CancellationToken cancellationToken)
    {
        var asked = Stopwatch.GetTimestamp();
        while (true)
        {
            try
            {
                return new FileStream(_path + ".lock", Owners(FileMode.OpenOrCreate));
            }
            catch (IOException error) when (IsHeld(error) && Stopwatch.GetElapsedTime(asked) < LockTimeout)
            {
                await Task.Delay(LockPause, cancellationToken).ConfigureAwait(false);
            }
        }
    }

    /// <summary>Whether another process has the file open: Windows' sharing violation, EAGAIN of Linux and of BSD.</summary>
    private static bool IsHeld(IOException error) => (error.HResult & 0xFFFF) is 32 or 11 or 35;

    /// <summary>A file of the owner's alone, that nobody else can open meanwhile.</summary>
    private static FileStreamOptions Owners(FileMode mode)
    {
        var options = new FileStreamOptions { Mode = mode, Access = FileAccess.Write, Share = FileShare.None };
        if (!OperatingSystem.IsWindows())
        {
            options.UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite;
        }

        return options;
    }

    private async Task<Root> ReadAsync(CancellationToken cancellationToken)
    {
        try
        {
            if (!OperatingSystem.IsWindows()
                && (File.GetUnixFileMode(_path) & (UnixFileMode.GroupRead | UnixFileMode.GroupWrite | UnixFileMode.OtherRead | UnixFileMode.OtherWrite)) != 0)
            {
                throw Error("can be read by others than its owner: treat its keys as known to them, or run `chmod 600` if they are not");
            }

            // Its maker may still hold it for writing, to have it on the disk: Windows lets in only who allows that.
            var stream = new FileStream(_path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite);
            await using (stream.ConfigureAwait(false))
            {
                var file = await JsonSerializer.DeserializeAsync<KeyFile>(stream, KeyFile.Json, cancellationToken).ConfigureAwait(false);
                var key = file is { Key: { } text } ? Convert.FromBase64String(text) : null;
                return file is { Format: Format, Id: { } id } && id.StartsWith("local:", StringComparison.Ordinal) && key is { Length: 32 }
                    ? new Root(id, key)
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

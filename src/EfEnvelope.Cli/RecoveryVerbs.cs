using System.CommandLine;
using System.Globalization;
using Microsoft.EntityFrameworkCore;

namespace EfEnvelope.Cli;

/// <summary><c>export</c> and <c>import</c>: the wrapped ring as a file, for disaster recovery.</summary>
internal sealed class RecoveryVerbs(Func<DbContext> createContext, Action<string> print)
{
    public IEnumerable<Command> CreateCommands()
    {
        var file = new Option<string?>("--file") { Description = "the document's path" };
        var export = new Command("export", "write the wrapped key ring to a file (no plaintext keys)") { file };
        export.SetAction((parsed, cancellationToken) => ExportAsync(Required(parsed.GetValue(file)), cancellationToken));
        var import = new Command("import", "bring an exported key ring back; never loosens a key's state") { file };
        import.SetAction((parsed, cancellationToken) => ImportAsync(Required(parsed.GetValue(file)), cancellationToken));
        return [export, import];
    }

    /// <summary>Written beside and moved into place: a file of that name is a whole document. Only the owner may read it: it names scopes.</summary>
    private async Task<int> ExportAsync(string path, CancellationToken cancellationToken)
    {
        if (File.Exists(path))
        {
            throw new EnvelopeConfigurationException($"'{path}' is there already and is kept. Name another file.");
        }

        var temporary = $"{path}.{Guid.NewGuid():N}.tmp";
        try
        {
            long keys;
            var context = createContext();
            await using (context.ConfigureAwait(false))
            {
                var options = new FileStreamOptions { Mode = FileMode.CreateNew, Access = FileAccess.Write, Options = FileOptions.Asynchronous };
                if (!OperatingSystem.IsWindows())
                {
                    options.UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite;
                }

                var stream = new FileStream(temporary, options);
                await using (stream.ConfigureAwait(false))
                {
                    keys = await new EnvelopeKeys(context).ExportAsync(stream, cancellationToken).ConfigureAwait(false);
                    stream.Flush(flushToDisk: true);
                }
            }

            File.Move(temporary, path, overwrite: false);
            print(string.Create(CultureInfo.InvariantCulture, $"{keys} wrapped key(s) written to {path}. They open nothing without the key service; keep the file with the database's backups."));
            return EnvelopeCommandLine.Proven;
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            throw new EnvelopeConfigurationException($"'{path}' cannot be written: {error.Message}", error);
        }
        finally
        {
            File.Delete(temporary);
        }
    }

    private async Task<int> ImportAsync(string path, CancellationToken cancellationToken)
    {
        try
        {
            var stream = File.OpenRead(path);
            var context = createContext();
            await using (stream.ConfigureAwait(false))
            await using (context.ConfigureAwait(false))
            {
                var report = await new EnvelopeKeys(context).ImportAsync(stream, cancellationToken).ConfigureAwait(false);
                print(string.Create(CultureInfo.InvariantCulture, $"{report.Added} key(s) added, {report.Changed} changed, {report.Unchanged} unchanged."));
                return EnvelopeCommandLine.Proven;
            }
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            throw new EnvelopeConfigurationException($"'{path}' cannot be read: {error.Message}", error);
        }
    }

    private static string Required(string? path) => path ?? throw new EnvelopeConfigurationException("--file is missing.");
}

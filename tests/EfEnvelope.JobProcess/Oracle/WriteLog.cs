using System.Globalization;
using EfEnvelope.JobProcess.Load;

namespace EfEnvelope.JobProcess.Oracle;

/// <summary>
/// What one writer did: an intent before each save, its outcome behind. Lines are handed to the operating system one by one, so a killed writer leaves at most an intent without outcome, of
/// which either state is right.
/// </summary>
/// <remarks><c>I kind number first second</c> or <c>I kind number D</c>, then <c>C kind number</c> (committed) or <c>R kind number</c> (rolled back).</remarks>
internal sealed class WriteLog : IDisposable
{
    private readonly FileStream? _file;

    public WriteLog(string? path)
    {
        if (path is not null)
        {
            _file = new FileStream(path, FileMode.Append, FileAccess.Write, FileShare.Read, bufferSize: 0);
        }
    }

    public void Intend(string kind, long number, RowState state)
        => Write(state.IsDeleted ? string.Create(CultureInfo.InvariantCulture, $"I {kind} {number} D\n") : string.Create(CultureInfo.InvariantCulture, $"I {kind} {number} {state.First} {state.Second}\n"));

    public void Commit(string kind, long number) => Write(string.Create(CultureInfo.InvariantCulture, $"C {kind} {number}\n"));

    public void RollBack(string kind, long number) => Write(string.Create(CultureInfo.InvariantCulture, $"R {kind} {number}\n"));

    /// <summary>Reads a log into an oracle; a last line that was cut off by the writer's death is an intent that never began.</summary>
    public static void Read(string path, RowOracle oracle)
    {
        using var reader = new StreamReader(new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite));
        var text = reader.ReadToEnd();
        foreach (var line in text[..(text.LastIndexOf('\n') + 1)].Split('\n', StringSplitOptions.RemoveEmptyEntries))
        {
            var parts = line.Split(' ');
            var number = long.Parse(parts[2], CultureInfo.InvariantCulture);
            switch (parts[0])
            {
                case "I" when parts[3] == "D":
                    oracle.Intend(parts[1], number, new RowState(0, 0, true));
                    break;
                case "I":
                    oracle.Intend(parts[1], number, new RowState(int.Parse(parts[3], CultureInfo.InvariantCulture), int.Parse(parts[4], CultureInfo.InvariantCulture), false));
                    break;
                case "C":
                    oracle.Commit(parts[1], number);
                    break;
                default:
                    oracle.RollBack(parts[1], number);
                    break;
            }
        }
    }

    public void Dispose() => _file?.Dispose();

    private void Write(string line) => _file?.Write(System.Text.Encoding.ASCII.GetBytes(line));
}

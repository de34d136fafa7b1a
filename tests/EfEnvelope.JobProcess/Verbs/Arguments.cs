using System.Globalization;
using EfEnvelope.JobProcess.Load;

namespace EfEnvelope.JobProcess.Verbs;

/// <summary><c>--name value</c> pairs.</summary>
internal sealed class Arguments
{
    private readonly Dictionary<string, string> _values = new(StringComparer.Ordinal);

    public Arguments(IReadOnlyList<string> args)
    {
        for (var i = 0; i < args.Count; i += 2)
        {
            if (!args[i].StartsWith("--", StringComparison.Ordinal) || i + 1 == args.Count)
            {
                throw new ArgumentException($"Expected --name value, found '{args[i]}'.");
            }

            _values[args[i][2..]] = args[i + 1];
        }
    }

    public string Text(string name, string? fallback = null) => _values.GetValueOrDefault(name) ?? fallback ?? throw new ArgumentException($"--{name} is missing.");

    public long Number(string name, long fallback) => _values.TryGetValue(name, out var text) ? long.Parse(text, CultureInfo.InvariantCulture) : fallback;

    public TimeSpan Seconds(string name, double fallback) => TimeSpan.FromSeconds(_values.TryGetValue(name, out var text) ? double.Parse(text, CultureInfo.InvariantCulture) : fallback);

    public string[] Kinds => Text("kinds", "Item").Split(',');

    /// <summary><c>--provider PostgreSQL|SQLite --database CONNECTION --key-file PATH [--lease SECONDS] [--clock-skew SECONDS]</c></summary>
    public Target Target => new(Text("provider", Target.Postgres), Text("database"), Text("key-file"), Seconds("lease", 2), Seconds("clock-skew", 0));
}

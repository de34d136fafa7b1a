using System.Globalization;
using System.Text;
using EfEnvelope.Benchmarks.Operations;
using EfEnvelope.Benchmarks.Running;

const string Usage = """
    usage: bash eng/bench.sh [--quick] [--list] [--operations] [FILTER]
      FILTER        only figures whose line contains this text, as 'G50', 'read-untracked', 'libsodium sqlite'
      --quick       fewer rows and rounds: a look, not figures to quote
      --list        the figures, without measuring
      --operations  BenchmarkDotNet's table of single seals and opens beside other libraries, instead of the figures
    exit code: 0 every bar is met, 1 a measurement failed, 2 wrong arguments, 3 a bar is missed
    """;

Console.OutputEncoding = Encoding.UTF8;
CultureInfo.CurrentCulture = CultureInfo.InvariantCulture;
var words = args.Where(a => !a.StartsWith('-')).ToList();
var options = args.Where(a => a.StartsWith('-')).ToHashSet(StringComparer.Ordinal);
if (words.Count > 1 || options.Except(["--quick", "--list", "--operations"]).Any())
{
    Console.Error.WriteLine(Usage);
    return 2;
}

var settings = new RunSettings(options.Contains("--quick"));
if (options.Contains("--operations"))
{
    return OperationsTable.Run(settings) ? 0 : 1;
}

var chosen = Catalog.Measurements.Where(m => words.Count == 0 || m.Title.Contains(words[0], StringComparison.OrdinalIgnoreCase)).ToList();
if (chosen.Count == 0)
{
    Console.Error.WriteLine($"No figure is called '{words[0]}'; --list shows them all.");
    return 2;
}

if (options.Contains("--list"))
{
    chosen.ForEach(m => Console.WriteLine($"{m.Title} (bar {m.Bar.Limit:0.00})"));
    return 0;
}

var (failed, missed) = (false, false);
foreach (var measurement in chosen)
{
    try
    {
        var value = await measurement.MeasureAsync(settings);
        var met = measurement.Bar.IsMet(value);
        missed |= !met;
        Console.WriteLine($"{measurement.Title} {value:0.00} (bar {measurement.Bar.Limit:0.00}){(met ? "" : " MISSED")}");
    }
    catch (Exception error)
    {
        failed = true;
        Console.Error.WriteLine($"{measurement.Title} failed: {error}");
    }
}

await Databases.DisposeAsync();
return failed ? 1 : missed ? 3 : 0;

using EfEnvelope.Benchmarks.Data;
using EfEnvelope.Benchmarks.Operations;
using EfEnvelope.Benchmarks.Running;
using EfEnvelope.Cryptography;

namespace EfEnvelope.Benchmarks.Scenarios;

/// <summary>G51: sealing and opening one value in memory against a raw call of a reused AesGcm, and what each allocates.</summary>
internal sealed class OperationScenario : IScenario
{
    private const int Calls = 50_000;
    private const int ObjectHeader = 24;

    public IEnumerable<Measurement> Measurements
    {
        get
        {
            foreach (var name in CustomerData.Backends)
            {
                var backend = CipherBackends.Select(name == CustomerData.Bcl ? CipherBackend.Bcl : CipherBackend.Libsodium, requireFips: false);
                var bar = Bar.AtMost(name == CustomerData.Bcl ? 1.3 : 0.35);
                foreach (var size in new[] { 16, 32, 64 })
                {
                    yield return new Measurement("G51", $"seal-{size}", name, "-", bar, settings => CompareAsync(settings, backend, size, f => f.RawEncrypt(), f => f.Seal()));
                    yield return new Measurement("G51", $"open-{size}", name, "-", bar, settings => CompareAsync(settings, backend, size, f => f.RawDecrypt(), f => f.Open()));
                }

                yield return new Measurement("G51", "seal-allocated-to-result", name, "-", Bar.AtMost(1), _ => AllocatedAsync(backend, f => f.Seal()));
                yield return new Measurement("G51", "open-allocated-to-result", name, "-", Bar.AtMost(1), _ => AllocatedAsync(backend, f => f.Open()));
            }
        }
    }

    private static async Task<double> CompareAsync(RunSettings settings, AeadBackend backend, int size, Action<Fields> raw, Func<Fields, byte[]> ours)
    {
        using var fields = new Fields(backend, size);
        var result = await new PairedRun(settings)
            .Add("AesGcm", () => Repeat(() => raw(fields)))
            .Add("EfEnvelope", () => Repeat(() => ours(fields)))
            .RunAsync();
        settings.Note($"AesGcm {result.Minimum("AesGcm").TotalNanoseconds / Calls:0} ns, EfEnvelope {result.Minimum("EfEnvelope").TotalNanoseconds / Calls:0} ns a call");
        return result.Ratio("EfEnvelope", "AesGcm");
    }

    /// <summary>Bytes allocated by a call, in sizes of the array that it returns.</summary>
    private static Task<double> AllocatedAsync(AeadBackend backend, Func<Fields, byte[]> call)
    {
        using var fields = new Fields(backend, 64);
        var length = call(fields).Length;
        Repeat(() => call(fields));
        var before = GC.GetAllocatedBytesForCurrentThread();
        for (var i = 0; i < Calls; i++)
        {
            call(fields);
        }

        var result = (ObjectHeader + length + 7) / 8 * 8;
        return Task.FromResult((GC.GetAllocatedBytesForCurrentThread() - before) / (double)Calls / result);
    }

    private static Task Repeat(Action call)
    {
        for (var i = 0; i < Calls; i++)
        {
            call();
        }

        return Task.CompletedTask;
    }
}

using BenchmarkDotNet.Columns;
using BenchmarkDotNet.Configs;
using BenchmarkDotNet.Diagnosers;
using BenchmarkDotNet.Exporters;
using BenchmarkDotNet.Jobs;
using BenchmarkDotNet.Loggers;
using BenchmarkDotNet.Running;
using BenchmarkDotNet.Toolchains.InProcess.Emit;
using EfEnvelope.Benchmarks.Running;
using Perfolizer.Horology;

namespace EfEnvelope.Benchmarks.Operations;

/// <summary>BenchmarkDotNet's table of single operations: in this process, so that nothing is built, and with nothing left behind but the text.</summary>
internal static class OperationsTable
{
    public static bool Run(RunSettings settings)
    {
        var artifacts = Directory.CreateTempSubdirectory("efenvelope-bdn-").FullName;
        try
        {
            var job = Job.Default.WithToolchain(InProcessEmitToolchain.Instance)
                .WithIterationTime(TimeInterval.FromMilliseconds(settings.IsQuick ? 50 : 200)).WithWarmupCount(3).WithIterationCount(settings.IsQuick ? 3 : 9);
            var logger = new AccumulationLogger();
            var config = ManualConfig.CreateEmpty()
                .AddJob(job)
                .AddDiagnoser(MemoryDiagnoser.Default)
                .AddColumnProvider(DefaultColumnProviders.Params, DefaultColumnProviders.Metrics)
                .AddColumn(TargetMethodColumn.Method, CategoriesColumn.Default, StatisticColumn.Min, StatisticColumn.Median)
                .AddLogger(logger)
                .WithArtifactsPath(artifacts)
                .WithOptions(ConfigOptions.DisableLogFile);
            var summary = BenchmarkRunner.Run<FieldBenchmarks>(config);
            MarkdownExporter.Console.ExportToLog(summary, ConsoleLogger.Ascii);
            var complete = !summary.HasCriticalValidationErrors && summary.Reports.All(r => r.Success);
            if (!complete)
            {
                Console.Error.WriteLine(logger.GetLog());
            }

            return complete;
        }
        finally
        {
            Directory.Delete(artifacts, recursive: true);
        }
    }
}

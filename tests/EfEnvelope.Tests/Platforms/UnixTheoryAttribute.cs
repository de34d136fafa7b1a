namespace EfEnvelope.Tests.Platforms;

/// <summary>A test that elsewhere is reported as skipped, with the reason, and not as passed.</summary>
internal sealed class UnixTheoryAttribute : TheoryAttribute
{
    public UnixTheoryAttribute()
    {
        if (OperatingSystem.IsWindows())
        {
            Skip = "Windows has neither signals nor modes of files.";
        }
    }
}
